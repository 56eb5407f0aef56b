"""What happens between the beginning of the process and the first job."""

import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.started import process_seconds, tell_start
from stoker_worker.domain.shapes import Shape, parse_shapes
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import BrokenResultError, FatalEngineError, Outcome, OutOfMemoryError, Row, Steps
from stoker_worker.engine.start import pipeline as loading
from stoker_worker.engine.start.importing import collection_paused
from stoker_worker.engine.start.pipeline import Model, load_pipeline
from stoker_worker.engine.start.warm import hot_shapes, made_up_rows, warm_up
from tests.worker.test_memory import tiny_model
from tests.worker.test_process import started

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

ROUNDED = 0.0015
"""Seconds by which two stages may pass their total: all three are rounded to a thousandth."""
LOAD_WITHOUT_NETWORK = """
import socket, sys
from pathlib import Path

asked = []

def refuse(*arguments, **_):
    asked.append(arguments)
    raise OSError("there is no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.start.pipeline import Model, load_pipeline

folder = Path(sys.argv[1])
tiny.write(folder, Pipeline.TEXT_TO_IMAGE)
loaded = load_pipeline(Model(Pipeline.TEXT_TO_IMAGE, "stoker/tiny-text-to-image", folder, "cpu"), lambda *_: None)
print(type(loaded.pipe).__name__, asked)
"""


class Runs:
    """What a pipeline was asked to run. More than one row fails with `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.sizes: list[tuple[int, int, int]] = []

    def __call__(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        steps.stepped()
        if len(rows) > 1:
            raise self.error
        job: Any = rows[0].job
        self.sizes.append((job.width, job.height, len(rows)))
        return Outcome([[]] if job.width > 8 else [BrokenResultError("the model produced values that are no numbers")])


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("", ()),
        ("1024x576", (Shape(1024, 576),)),
        (" 512x512x4, 1024x576x1 ,", (Shape(512, 512, 4), Shape(1024, 576))),
    ],
)
def test_shapes_are_read_from_a_list(text: str, shapes: tuple[Shape, ...]) -> None:
    assert parse_shapes(text) == shapes


@pytest.mark.parametrize("text", ["512", "512x", "512x512x0", "512x512x100", "512X512", "-8x8", "8x8x1x1", "8 x 8"])
def test_what_is_no_shape_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write WIDTHxHEIGHT"):
        parse_shapes(text)


def test_a_card_is_warmed_up_with_the_size_of_a_job_that_names_none_and_a_cpu_not_at_all() -> None:
    (shape,) = hot_shapes((), "cuda")
    (row,) = made_up_rows(Pipeline.TEXT_TO_IMAGE, shape)
    unnamed: Any = row.job.model_validate({"prompt": ""})

    assert (shape.width, shape.height) == (unnamed.width, unnamed.height)
    assert not hot_shapes((), "cpu")
    assert hot_shapes((Shape(8, 8),), "cpu") == (Shape(8, 8),)


@pytest.mark.parametrize("pipeline", list(Pipeline))
def test_made_up_rows_are_what_a_job_of_that_size_would_be(pipeline: Pipeline) -> None:
    rows = made_up_rows(pipeline, Shape(64, 32, 3))
    row = rows[0]
    size = row.image.size if pipeline is Pipeline.IMAGE_TO_IMAGE and row.image else (row.job.width, row.job.height)  # type: ignore[attr-defined]

    job: Any = row.job
    assert len({row.seed for row in rows}) == 3
    assert int(job.num_inference_steps * getattr(job, "strength", 1)) == 2
    assert size == (64, 32)
    assert (row.image is None) == (pipeline is Pipeline.TEXT_TO_IMAGE)


def test_sizes_that_no_job_may_ask_for_are_not_made_up() -> None:
    with pytest.raises(ValidationError):
        made_up_rows(Pipeline.TEXT_TO_IMAGE, Shape(99999, 64))


@pytest.mark.parametrize(
    ("error", "words"), [(OutOfMemoryError("the card is full"), "the card is full"), (RuntimeError("in /models/x"), "RuntimeError")]
)
def test_a_shape_that_fails_is_told_and_leaves_the_others_and_the_start_as_they_are(
    error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs(error)
    stages: dict[str, float] = {}
    shapes = (Shape(64, 64, 8), Shape(99999, 64), Shape(8, 8), Shape(64, 64))

    warm_up(runs, Pipeline.TEXT_TO_IMAGE, shapes, stages.__setitem__, times=2)

    assert runs.sizes == [(8, 8, 1), (64, 64, 1), (64, 64, 1)]
    assert "warm_up" in stages
    assert [message.partition(" for ")[2] for message in caplog.messages] == [
        f"64x64x8: {words}",
        "99999x64x1: no job may ask for this size",
        "8x8x1: the model produced values that are no numbers",
    ]


def test_an_engine_that_is_lost_while_it_warms_up_ends_the_start() -> None:
    lost = FatalEngineError(ExitReason.ENGINE_FAILED, "the card is gone")

    with pytest.raises(FatalEngineError, match="gone"):
        warm_up(Runs(lost), Pipeline.TEXT_TO_IMAGE, (Shape(64, 64, 2),), lambda *_: None)


def test_nothing_is_collected_during_imports_even_where_they_fail() -> None:
    def fail() -> None:
        with collection_paused():
            assert not gc.isenabled()
            raise ImportError

    with pytest.raises(ImportError):
        fail()

    assert gc.isenabled()
    gc.unfreeze()


def test_files_are_read_ahead_before_the_imports_begin_and_not_after_the_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[str] = []

    class Ahead:
        """Reads nothing."""

        seconds = 0.5

        def __init__(self, files: Sequence[Path], _room: int) -> None:
            events.append(f"{len(files)} files")

        def start(self) -> None:
            events.append("started")

        def stop(self) -> None:
            events.append("stopped")

    def imports(*_: object) -> None:
        events.append("imports")
        raise FatalEngineError(ExitReason.LOAD_FAILED, "nothing can be imported here")

    monkeypatch.setattr(loading, "Prefetch", Ahead)
    monkeypatch.setattr(loading, "import_libraries", imports)
    (tmp_path / "model_index.json").write_text("{}")
    model = Model(Pipeline.TEXT_TO_IMAGE, "org/model", tmp_path)

    with pytest.raises(FatalEngineError, match="imported"):
        load_pipeline(model, lambda stage, seconds: events.append(f"{stage} {seconds}"))

    assert events == ["0 files", "started", "imports", "stopped", "prefetch 0.5"]


@pytest.mark.torch
def test_a_load_asks_nobody_on_the_network(tmp_path: Path) -> None:
    unset = {"HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_NETWORK, str(tmp_path)],
        env=os.environ | unset, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert ended.stdout.strip() == "StableDiffusionXLPipeline []", ended.stderr[-2000:]


@pytest.mark.torch
def test_an_engine_has_run_its_hot_shapes_once_it_is_loaded(tmp_path: Path) -> None:
    from stoker_worker.engine import tiny  # noqa: PLC0415 - torch only where it is tested

    class Watched(DiffusersEngine):
        """Remembers what it ran."""

        outcomes: ClassVar[list[Outcome]] = []

        def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
            self.outcomes.append(super().run(rows, steps))
            return self.outcomes[-1]

    tiny.write(tmp_path, Pipeline.TEXT_TO_IMAGE)
    model_id = "stoker/tiny-text-to-image"
    engine = Watched(Model(Pipeline.TEXT_TO_IMAGE, model_id, tmp_path, "cpu", warm_shapes=(Shape(64, 32),)))
    stages: dict[str, float] = {}
    footprint = engine.load(stages.__setitem__)
    ((made,),) = [outcome.rows for outcome in engine.outcomes]

    assert isinstance(made, list)
    assert made[0].shape == (32, 64, 3)
    assert {"import", "prefetch", "weights", "warm_up"} <= stages.keys()
    assert footprint.weights > 0


@pytest.mark.torch
def test_what_a_family_forbids_to_round_is_not_rounded_by_a_switch_either(models: Path) -> None:
    pipe = load_pipeline(tiny_model(models, "wan", switches=frozenset({"bfloat16"})), lambda *_: None).pipe

    assert {str(part.dtype) for part in (pipe.vae, pipe.image_encoder)} == {"torch.float32"}
    assert str(pipe.transformer.dtype) == "torch.bfloat16"


@pytest.mark.torch
@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("2", 2)])
def test_a_cpu_gets_one_thread_unless_it_is_told_otherwise(
    models: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, threads: int
) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    if asked is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    try:
        load_pipeline(tiny_model(models, "sd15"), lambda *_: None)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_process_began_before_now_and_grows_older() -> None:
    first = process_seconds()

    assert 0 < first <= process_seconds()


def test_the_start_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    metrics.start_seconds_of("import", 2.5)

    with caplog.at_level("INFO"):
        tell_start(metrics)

    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the worker is ready: import 2.50 s, total ")
    assert metrics.started.keys() == {"import", "total"}


async def test_version_and_metrics_tell_where_the_start_spent_its_time(tmp_path: Path) -> None:
    async with started(tmp_path, {"load_seconds": 0.2}) as worker:
        await worker.answers("/ready")
        seconds = (await worker.client.get("/version")).json()["start_seconds"]
        metrics = (await worker.client.get("/metrics")).text

    assert list(seconds) == ["listen", "weights", "total"]
    assert seconds["listen"] > 0
    assert seconds["listen"] + seconds["weights"] <= seconds["total"] + ROUNDED
    assert seconds["weights"] == 0.2
    assert 'stoker_worker_start_seconds{stage="total"}' in metrics
