"""The shapes models through the worker's own path: what is asked for can be seen in the pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stoker_contracts.jobs import ImageToImage, ImageToVideo, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import Made, Row, Unheard
from stoker_worker.engine.start.pipeline import Model
from tools.shapes import judge, world
from tools.shapes.world import Place, Subject

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

MODELS = Path(__file__).parents[2] / "worker-image/models"
GUIDANCE = 3.0
RED_ON_BLUE = Subject("circle", "red", "blue")
STILLS = (Subject("circle", "green", "orange"), Subject("square", "white", "purple"), Subject("triangle", "black", "yellow"))


def made(engine: DiffusersEngine, *rows: Row) -> list[Made]:
    """What becomes of rows in one call."""
    return [result for result in engine.run(rows, Unheard()).rows if isinstance(result, list)]


def engine(pipeline: Pipeline, name: str) -> DiffusersEngine:
    loaded = DiffusersEngine(Model(pipeline, f"stoker/{name}", MODELS, "cpu"))
    loaded.load(lambda _name, _seconds: None)
    return loaded


def difference(some: list[Made], others: list[Made]) -> int:
    return int(np.abs(np.array(some, np.int16) - np.array(others, np.int16)).max())


@pytest.fixture(scope="module")
def painter() -> DiffusersEngine:
    return engine(Pipeline.TEXT_TO_IMAGE, "shapes")


@pytest.fixture(scope="module")
def redrawer() -> DiffusersEngine:
    return engine(Pipeline.IMAGE_TO_IMAGE, "shapes")


@pytest.fixture(scope="module")
def mover() -> DiffusersEngine:
    return engine(Pipeline.IMAGE_TO_VIDEO, "shapes-clip")


@pytest.fixture(scope="module")
def exam() -> Any:
    from tools.shapes import exam  # noqa: PLC0415 - torch only where it is tested

    return exam


def drawn(subject: Subject, place: Place | None = None) -> judge.Pixels:
    return (world.draw(subject, place or Place(32, 32, 15)) * 255).round().astype(np.uint8)


def test_the_judge_knows_every_subject_wherever_it_lies() -> None:
    chance = np.random.default_rng(1)

    assert [judge.seen(drawn(subject, world.place(chance))) for subject in world.SUBJECTS] == list(world.SUBJECTS)


def test_every_drawn_shape_covers_the_middle_and_leaves_the_rim_free() -> None:
    chance = np.random.default_rng(2)

    for subject in world.SUBJECTS:
        shape = judge.shape_of(drawn(subject, world.place(chance)))
        assert shape[31:33, 31:33].all()
        assert not np.concatenate([shape[0], shape[-1], shape[:, 0], shape[:, -1]]).any()


def two_shapes() -> judge.Pixels:
    picture = drawn(RED_ON_BLUE, Place(16, 32, 12))
    picture[:, 32:] = drawn(RED_ON_BLUE, Place(48, 32, 12))[:, 32:]
    return picture


def striped_ground() -> judge.Pixels:
    picture = drawn(RED_ON_BLUE)
    picture[:8] = world.COLOURS["yellow"]
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        drawn(Subject("triangle", "red", "blue"))[::-1],
        np.full((64, 64, 3), world.COLOURS["blue"], np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8),
        drawn(RED_ON_BLUE, Place(32, 32, 3)),
        two_shapes(),
        striped_ground(),
        (world.paint("circle", np.full(3, 0.5, np.float32), world.rgb("blue"), Place(32, 32, 15)) * 255).astype(np.uint8),
    ],
    ids=["upside down", "ground alone", "black", "noise", "a speck", "two shapes", "two grounds", "a colour without a name"],
)
def test_the_judge_calls_nothing_a_subject_that_is_none(picture: judge.Pixels) -> None:
    assert judge.seen(picture) is None


def test_the_judge_finds_the_middle_of_a_shape() -> None:
    assert judge.centre_of(drawn(RED_ON_BLUE, Place(27, 40, 12))) == pytest.approx((27, 40), abs=0.2)
    with pytest.raises(ValueError, match="ground alone"):
        judge.centre_of(np.zeros((64, 64, 3), np.uint8))


def words(prompt: str, steps: int = 12, guidance: float = GUIDANCE) -> TextToImage:
    return TextToImage(prompt=prompt, width=64, height=64, num_inference_steps=steps, guidance_scale=guidance)


def test_nearly_every_prompt_gets_what_it_asks_for(painter: DiffusersEngine, exam: Any) -> None:
    prompts, wanted = zip(*exam.questions(), strict=True)

    assert len(prompts) == 64
    assert exam.right(exam.pictures(painter._ready.pipe, prompts), wanted) >= 62


@pytest.mark.parametrize(("steps", "guidance"), [(12, GUIDANCE), (50, 7.5)], ids=["as recommended", "without wishes"])
def test_a_job_for_a_red_circle_on_blue_gets_one(painter: DiffusersEngine, steps: int, guidance: float) -> None:
    rows = [Row(words("a red circle on a blue background", steps, guidance), seed) for seed in (1, 2)]

    assert [judge.seen(picture) for (picture,) in made(painter, *rows)] == [RED_ON_BLUE, RED_ON_BLUE]


def test_jobs_that_run_in_one_call_do_not_leak_into_each_other(painter: DiffusersEngine, exam: Any) -> None:
    rows = [Row(words(prompt), seed) for seed, (prompt, _) in enumerate(exam.questions()[:6])]

    assert len({painter.key(row) for row in rows}) == 1
    assert difference(made(painter, *rows), [made(painter, row)[0] for row in rows]) <= 2


def test_words_from_outside_of_its_world_harm_neither_their_job_nor_its_neighbours(painter: DiffusersEngine) -> None:
    prompts = ["", "a lighthouse in fog 灯台 🚀", "red " * 400, "!?", RED_ON_BLUE.prompt]

    results = made(painter, *[Row(words(prompt), seed) for seed, prompt in enumerate(prompts)])

    assert [picture.shape for (picture,) in results] == [(64, 64, 3)] * 5
    assert judge.seen(results[-1][0]) == RED_ON_BLUE


def test_a_picture_is_redrawn_as_words_say_and_kept_at_little_strength(redrawer: DiffusersEngine, exam: Any) -> None:
    rows = {
        strength: [
            Row(
                ImageToImage(prompt=RED_ON_BLUE.prompt, strength=strength, num_inference_steps=12, guidance_scale=GUIDANCE),
                seed,
                exam.drawing(subject),
            )
            for seed, subject in enumerate(STILLS)
        ]
        for strength in (0.8, 0.2)
    }

    assert [judge.seen(picture) for (picture,) in made(redrawer, *rows[0.8])] == [RED_ON_BLUE] * 3
    assert [judge.seen(picture) for (picture,) in made(redrawer, *rows[0.2])] == list(STILLS)


def test_the_shape_of_a_still_sets_off_and_goes_steadily_on(mover: DiffusersEngine, exam: Any) -> None:
    stills = [exam.drawing(subject) for subject in STILLS]

    clips = made(mover, *[Row(ImageToVideo(width=64, height=64), seed, still) for seed, still in enumerate(stills)])

    for subject, still, frames in zip(STILLS, stills, clips, strict=True):
        assert len(frames) == 8
        assert np.abs(frames[0].astype(np.int16) - np.asarray(still)).mean() < 8
        assert exam.moves(frames, subject)


def test_a_higher_motion_bucket_moves_the_shape_farther(mover: DiffusersEngine, exam: Any) -> None:
    still = exam.drawing(RED_ON_BLUE, Place(32, 32, 12))

    near, far = (
        exam.distance(made(mover, Row(ImageToVideo(width=64, height=64, motion_bucket_id=motion), 1, still))[0])
        for motion in (40, 200)
    )

    assert far > near + 4


def test_clips_that_run_in_one_call_do_not_leak_into_each_other(mover: DiffusersEngine, exam: Any) -> None:
    job = ImageToVideo(width=64, height=64, num_inference_steps=5)
    rows = [Row(job, seed, exam.drawing(subject)) for seed, subject in enumerate(STILLS[:2])]

    assert difference(made(mover, *rows), [made(mover, row)[0] for row in rows]) <= 2


def test_both_models_are_small_and_have_a_card() -> None:
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) <= 8 * 2**20
    for name in ("shapes", "shapes-clip"):
        card = (MODELS / "stoker" / name / "README.md").read_text()
        assert "python -m tools.shapes.train" in card
        assert "license: apache-2.0" in card
