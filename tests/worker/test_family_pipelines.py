"""Each family through each of its pipelines: tiny, random, and on the worker's own path."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from stoker_contracts.jobs import ImageToImage, ImageToVideo, Job, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.protocol import CancelledError, Made, Row
from tests.worker.conftest import Engines

if TYPE_CHECKING:
    from stoker_worker.engine.diffusers import DiffusersEngine

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

T2I, I2I, I2V = Pipeline
Case = tuple[str, Pipeline]

EVERY: list[Case] = [(family, pipeline) for family, pipelines in tiny.FAMILIES.items() for pipeline in pipelines]
BATCHING = [case for case in EVERY if case[0] not in {"ltx", "wan"}]
LEAVING = [("sd15", T2I), ("sd15", I2I), ("sdxl", T2I), ("sdxl", I2I), ("sd3", T2I)]
STAYING = [case for case in BATCHING if case not in LEAVING]
LEVELS = 2
"""Grey levels by which sums of another batch size may differ; another seed or prompt differs by far more."""
FRAMES = {"svd": 8, "ltx": 9, "wan": 5}

JOBS: dict[Pipeline, Job] = {
    T2I: TextToImage(prompt="a red circle", width=64, height=32, num_inference_steps=3, guidance_scale=4),
    I2I: ImageToImage(prompt="a red circle", num_inference_steps=4, strength=0.75, guidance_scale=4),
    I2V: ImageToVideo(width=64, height=32, num_inference_steps=2),
}


class Callers:
    """The callers of a batch, who go as told: after so many steps, these rows. With `hang_up` the last one ends the call."""

    def __init__(self, leave: Mapping[int, set[int]] | None = None, hang_up: int | None = None) -> None:
        self.steps = 0
        self._leave = leave or {}
        self._hang_up = hang_up

    def stepped(self) -> frozenset[int]:
        self.steps += 1
        if self.steps == self._hang_up:
            raise CancelledError
        return frozenset[int]().union(*(rows for step, rows in self._leave.items() if step <= self.steps))


def image(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((64, 32))


def row(pipeline: Pipeline, seed: int, **changes: Any) -> Row:
    """A row whose words and image are its own."""
    words = {} if pipeline is I2V else {"prompt": f"circle {seed}", "negative_prompt": "square" * seed}
    job = JOBS[pipeline].model_copy(update=words | changes)
    return Row(job, seed, None if pipeline is T2I else image(seed))


def run(engine: "DiffusersEngine", rows: list[Row], callers: Callers | None = None) -> list[Made]:
    """What became of rows that must all succeed."""
    made = engine.run(rows, callers or Callers()).rows
    return [each for each in made if isinstance(each, list)]


def apart(one: Made, other: Made) -> int:
    """The largest difference of two results, in grey levels."""
    return int(np.abs(np.stack(one).astype(int) - np.stack(other).astype(int)).max())


@pytest.mark.parametrize(("family", "pipeline"), EVERY)
def test_pictures_have_the_asked_size_and_depend_on_the_seed(engines: Engines, family: str, pipeline: Pipeline) -> None:
    engine = engines(family, pipeline)
    again, other = row(pipeline, 1), replace(row(pipeline, 1), seed=2)
    (first,), (second,), (different,) = (run(engine, [each]) for each in (again, again, other))

    assert len(first) == FRAMES.get(family, 1)
    assert {(picture.shape, str(picture.dtype)) for picture in first} == {((32, 64, 3), "uint8")}
    assert np.stack(first).std() > 1
    assert apart(first, second) == 0
    assert apart(first, different) > 0


@pytest.mark.parametrize(("family", "pipeline"), BATCHING)
def test_a_row_is_the_same_whoever_its_neighbours_are(engines: Engines, family: str, pipeline: Pipeline) -> None:
    engine = engines(family, pipeline)
    rows = [row(pipeline, seed) for seed in ((1, 2) if pipeline is I2V else (1, 2, 3))]
    together, turned = run(engine, rows), run(engine, rows[::-1])
    alone = [run(engine, [each])[0] for each in rows]

    assert len({engine.key(each) for each in rows}) == 1
    assert max(apart(one, other) for one, other in zip(together, turned[::-1], strict=True)) == 0
    assert max(apart(one, other) for one, other in zip(together, alone, strict=True)) <= LEVELS
    assert min(apart(one, other) for one, other in pairwise(together)) > LEVELS


@pytest.mark.parametrize(("family", "pipeline"), LEAVING)
@pytest.mark.parametrize("guidance", [0.0, 4.0])
def test_who_leaves_a_batch_is_not_computed_and_leaves_the_others_as_they_are(
    engines: Engines, family: str, pipeline: Pipeline, guidance: float
) -> None:
    engine = engines(family, pipeline)
    rows = [row(pipeline, seed, num_inference_steps=6, guidance_scale=guidance) for seed in (1, 2, 3, 4)]
    whole = run(engine, rows)
    with sizes_of(engine) as seen:
        left = engine.run(rows, Callers({2: {1}, 3: {3}})).rows

    assert [isinstance(each, CancelledError) for each in left] == [False, True, False, True]
    stayed = [apart(made, whole[index]) for index, made in enumerate(left) if isinstance(made, list)]
    assert max(stayed) <= (0 if family == "sdxl" else LEVELS)
    assert seen[-1] == 2 * (2 if guidance > 1 else 1)


@contextmanager
def sizes_of(engine: "DiffusersEngine") -> Iterator[list[int]]:
    """The denoiser's batch sizes meanwhile, two for each row with guidance."""
    pipe = engine._ready.pipe
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    seen: list[int] = []

    def look(_module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append((positional[0] if positional else named["hidden_states"]).shape[0])

    with denoiser.register_forward_pre_hook(look, with_kwargs=True):
        yield seen


@pytest.mark.parametrize(("family", "pipeline"), STAYING)
def test_who_cannot_leave_is_computed_and_dropped(engines: Engines, family: str, pipeline: Pipeline) -> None:
    engine = engines(family, pipeline)
    rows = [row(pipeline, seed) for seed in (1, 2)]
    whole = run(engine, rows)
    left = engine.run(rows, Callers({1: {0}})).rows

    assert isinstance(left[0], CancelledError)
    assert isinstance(left[1], list)
    assert apart(left[1], whole[1]) == 0


@pytest.mark.parametrize(("family", "pipeline"), EVERY)
def test_a_batch_that_nobody_waits_for_ends_after_its_step(engines: Engines, family: str, pipeline: Pipeline) -> None:
    engine = engines(family, pipeline)
    told, silent = Callers(hang_up=1), Callers({1: {0}})
    before = run(engine, [row(pipeline, 1)])
    with pytest.raises(CancelledError):
        engine.run([row(pipeline, 1)], told)
    if family not in {"ltx", "wan"}:
        with pytest.raises(CancelledError):
            engine.run([row(pipeline, 1)], silent)

    assert told.steps == 1
    assert apart(run(engine, [row(pipeline, 1)])[0], before[0]) == 0


def test_rows_of_a_family_that_does_not_batch_are_made_in_turn_and_kept_from_other_jobs(engines: Engines) -> None:
    engine = engines("wan", I2V)
    rows, callers = [row(I2V, seed) for seed in (1, 2)], Callers()
    together = run(engine, rows, callers)

    assert callers.steps == 2 + 2
    assert [apart(made, run(engine, [each])[0]) for made, each in zip(together, rows, strict=True)] == [0, 0]
    assert len({engine.key(each) for each in (row(I2V, 1), row(I2V, 1))}) == 2


@pytest.mark.parametrize(
    ("pipeline", "changes"),
    [
        (T2I, {"width": 32}),
        (T2I, {"num_inference_steps": 4}),
        (T2I, {"guidance_scale": 5.0}),
        (I2I, {"strength": 0.5}),
        (I2V, {"fps": 9}),
        (I2V, {"motion_bucket_id": 9}),
        (I2V, {"noise_aug_strength": 0.5}),
    ],
)
def test_rows_that_differ_in_what_holds_for_a_call_have_other_keys(
    engines: Engines, pipeline: Pipeline, changes: dict[str, Any]
) -> None:
    engine = engines("svd" if pipeline is I2V else "sdxl", pipeline)

    assert engine.key(row(pipeline, 1)) != engine.key(row(pipeline, 1, **changes))


@pytest.mark.parametrize(("family", "pipeline"), [("sdxl", I2I), ("svd", I2V)])
def test_images_of_other_sizes_are_not_put_together(engines: Engines, family: str, pipeline: Pipeline) -> None:
    engine = engines(family, pipeline)
    small = row(pipeline, 1)
    assert small.image is not None

    assert engine.key(small) != engine.key(replace(small, image=small.image.resize((128, 64))))


@pytest.mark.parametrize(("family", "limit"), [("sd15", 77), ("sdxl", 77), ("sd3", 256), ("flux", 512)])
def test_a_prompt_that_is_cut_is_told_by_its_length_alone(
    engines: Engines, caplog: pytest.LogCaptureFixture, family: str, limit: int
) -> None:
    caplog.set_level("INFO", "stoker_worker")
    fits, long = "secret " * (limit // 7), "secret " * (limit // 5)
    run(engines(family, T2I), [row(T2I, 1, prompt=prompt, num_inference_steps=1) for prompt in (fits, long)])
    told = [record.getMessage() for record in caplog.records]

    assert len(told) == 1
    assert f"is cut to {limit}" in told[0]
    assert "secret" not in told[0]
