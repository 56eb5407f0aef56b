"""A model in this process, over the stub engine."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stoker_contracts.jobs import JobLimits
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.bench import in_process
from stoker_worker.bench.document import Held, Result
from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.in_process import Stop, Subject, measure
from stoker_worker.bench.options import Options
from stoker_worker.bench.plan import Load
from stoker_worker.engine.protocol import (
    BrokenResultError,
    FatalEngineError,
    Footprint,
    Outcome,
    OutOfMemoryError,
    Pixels,
    RefusedError,
    Row,
    StageHook,
    Steps,
)
from stoker_worker.engine.stub import FRAMES, StubEngine, StubScript
from tests.support.bench import SMALL, Quiet, options


class Watched(StubEngine):
    """A stub that remembers its batches; `wrong` may raise, or make rows fail, in the batch of that number."""

    def __init__(self, wrong: Callable[[int], Exception | None] = lambda _: None, **script: Any) -> None:
        super().__init__(StubScript(step_seconds=0, **script))
        self.batches: list[Sequence[Row]] = []
        self._wrong = wrong

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        self.batches.append(rows)
        error = self._wrong(len(self.batches))
        if error is not None:
            raise error
        return super().run(rows, steps)


def run(
    engine: StubEngine, chosen: Options | None = None, pipeline: Pipeline = Pipeline.TEXT_TO_IMAGE, stop: Stop | None = None
) -> Result:
    subject = Subject(pipeline, "org/model", "stub", (), JobLimits(), lambda: engine)
    return measure(subject, chosen or options(), Quiet(), stop or Stop())


def test_it_tells_of_load_memory_inference_and_encoding() -> None:
    found = run(Watched(load_seconds=0.01))

    assert found.load is not None
    assert found.load.seconds >= 0.01
    assert found.load.stages == {"weights": 0.01}
    assert found.memory is not None
    assert found.memory.of == "process"
    assert 2**20 < found.memory.loaded.allocated <= found.memory.peak.allocated
    assert set(found.figures.stages) == {"inference", "encode"}
    assert all(stage.count == 10 and stage.mean > 0 for stage in found.figures.stages.values())
    assert found.figures.pictures == 10
    assert found.target.devices[0].startswith("CPU ")
    assert "python" in found.target.versions


def test_warm_up_runs_are_in_no_figure() -> None:
    engine = Watched()
    found = run(engine, options(Load(runs=4), warmup=3))

    assert len(engine.batches) == 7
    assert found.figures.counts.done == 4
    assert len(found.warmup.milliseconds) == 3


def test_a_batch_has_as_many_rows_as_asked_for_with_seeds_that_count_up() -> None:
    engine = Watched()
    found = run(engine, options(Load(runs=1), warmup=0, batch_size=3, seed=7))

    assert [[row.seed for row in rows] for rows in engine.batches] == [[7, 8, 9]]
    assert (found.figures.pictures, found.figures.counts.done) == (3, 1)


def test_kinds_of_a_mix_are_run_as_their_weights_say_and_warmed_up_in_turn() -> None:
    engine = Watched()
    mix = [{"name": "small", "weight": 3}, {"name": "large", "width": 128, "num_images_per_prompt": 2}]
    found = run(engine, options(Load(runs=40), mix, warmup=2))
    counts = {name: spread.count for name, spread in found.figures.by_kind.items()}

    assert [len(rows) for rows in engine.batches[:2]] == [1, 2]
    assert sum(counts.values()) == 40
    assert counts["small"] > counts["large"] > 0


def test_an_image_job_gets_a_made_picture_of_its_size_or_the_given_one(tmp_path: Path) -> None:
    Image.new("RGB", (48, 24), "red").save(file := tmp_path / "in.png")
    made, given = Watched(), Watched()
    fields = {**SMALL, "num_inference_steps": 4}
    run(made, options(Load(runs=1), fields=fields, warmup=0), Pipeline.IMAGE_TO_IMAGE)
    run(given, options(Load(runs=1), fields=fields, warmup=0, image=file), Pipeline.IMAGE_TO_IMAGE)

    sizes = [engine.batches[0][0].image for engine in (made, given)]
    assert [image.size for image in sizes if image is not None] == [(64, 64), (48, 24)]


@pytest.mark.parametrize(("form", "encoded"), [("frames", ["png"] * 2 * FRAMES), ("mp4", ["mp4"] * 2)])
def test_frames_of_a_video_are_counted_and_encoded_in_the_asked_form(
    form: str, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(in_process, "encode_png", lambda _: seen.append("png"))
    monkeypatch.setattr(in_process, "encode_mp4", lambda *_: seen.append("mp4"))
    found = run(Watched(), options(Load(runs=2), warmup=0, fields={**SMALL, "output_format": form}), Pipeline.IMAGE_TO_VIDEO)

    assert (found.figures.counts.done, found.figures.pictures) == (2, 2 * FRAMES)
    assert seen == encoded


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutOfMemoryError("the card is full"), "out of memory"),
        (BrokenResultError("no numbers"), "broken result"),
        (RefusedError("no such size"), "refused by the model"),
        (ZeroDivisionError("by 0\nand more"), "ZeroDivisionError"),
    ],
)
def test_a_run_that_fails_is_counted_by_its_kind_and_the_others_go_on(error: Exception, kind: str) -> None:
    found = run(Watched(lambda number: error if number == 3 else None), options(Load(runs=5), warmup=0))

    assert (found.figures.counts.done, found.figures.counts.failed) == (4, 1)
    assert [(each.kind, each.count, each.example) for each in found.figures.errors] == [(kind, 1, str(error).split("\n")[0])]


def test_a_row_that_fails_makes_its_batch_fail_and_its_neighbours_pictures_are_counted() -> None:
    class OneBad(StubEngine):
        def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
            made = super().run(rows, steps).rows
            return Outcome([BrokenResultError("no numbers"), *made[1:]])

    found = run(OneBad(StubScript(step_seconds=0)), options(Load(runs=1), batch_size=3))

    assert (found.figures.counts.failed, found.figures.pictures) == (1, 2)
    assert found.figures.errors[0].kind == "broken result"


def test_an_engine_that_is_lost_ends_the_run_and_what_was_measured_is_told() -> None:
    lost = FatalEngineError(ExitReason.ENGINE_FAILED, "only a restart helps")
    found = run(Watched(lambda number: lost if number == 3 else None), options(Load(runs=9), warmup=0))

    assert (found.figures.counts.done, found.figures.counts.failed) == (2, 1)
    assert found.figures.errors[0].kind == "lost engine: EngineFailed"


def test_a_job_that_the_model_refuses_ends_it_before_anything_is_measured() -> None:
    with pytest.raises(BenchError, match="no such size"):
        run(Watched(lambda _: RefusedError("no such size")))


@pytest.mark.parametrize(("pipeline", "called"), [("text-to-image", "odd: "), ("image-to-image", "odd: "), ("image-to-video", "")])
def test_a_job_that_a_worker_would_refuse_ends_it_in_words_before_the_load(pipeline: str, called: str) -> None:
    odd = {"name": "odd", "width": 64, "height": 65}
    chosen = options(fields={}, mix=[{"name": "good"}, odd] if called else [odd])
    with pytest.raises(BenchError) as error:
        run(Watched(load_error="it was loaded"), chosen, Pipeline(pipeline))
    assert error.value.message == f"{called}width and height must be divisible by 8; 64×65 is not"


def test_a_picture_that_cannot_be_encoded_is_a_failure_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = iter([OSError("no encoder")])

    def encode(_: Pixels) -> bytes:
        for error in broken:
            raise error
        return b""

    monkeypatch.setattr(in_process, "encode_png", encode)
    found = run(Watched(), options(Load(runs=3), warmup=0))

    assert (found.figures.counts.done, found.figures.counts.failed) == (2, 1)
    assert [(each.kind, each.example) for each in found.figures.errors] == [("OSError", "no encoder")]


def test_missing_weights_are_told_in_one_sentence() -> None:
    with pytest.raises(BenchError) as error:
        run(Watched(weights_missing=True))

    assert error.value.message == "the script says that the weights are missing"
    assert error.value.exit_code == 2


def test_missing_torch_is_told_with_what_to_install() -> None:
    class WithoutTorch(StubEngine):
        def load(self, stage: StageHook) -> Footprint:
            raise ModuleNotFoundError(name="diffusers.pipelines")

    with pytest.raises(BenchError, match=r"diffusers.pipelines is not installed here. Install stoker-worker\[diffusers\]"):
        run(WithoutTorch(StubScript()))


def test_another_module_that_is_missing_is_a_fault_of_ours() -> None:
    class Faulty(StubEngine):
        def load(self, stage: StageHook) -> Footprint:
            raise ModuleNotFoundError(name="stoker_worker.nowhere")

    with pytest.raises(ModuleNotFoundError):
        run(Faulty(StubScript()))


def test_a_stop_ends_at_the_next_step_and_keeps_what_was_measured() -> None:
    stop = Stop()

    def press(number: int) -> None:
        if number == 4:
            stop.ask()

    found = run(Watched(press), options(Load(runs=9), warmup=1), stop=stop)

    assert found.interrupted
    assert (found.figures.counts.done, found.figures.counts.abandoned) == (2, 1)


def test_a_stop_while_it_warms_up_measures_nothing() -> None:
    stop = Stop()
    found = run(Watched(lambda _: stop.ask()), stop=stop)

    assert found.interrupted
    assert (found.figures.counts.done, found.figures.counts.abandoned, found.warmup.milliseconds) == (0, 0, ())


def test_the_second_ctrl_c_does_not_wait_for_a_step() -> None:
    stop = Stop()
    before = signal.getsignal(signal.SIGINT)
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_no_run_begins_after_the_duration() -> None:
    found = run(StubEngine(StubScript(step_seconds=0.01)), options(Load(duration=0.05), warmup=0))

    assert 1 <= found.figures.counts.done <= 6
    assert found.figures.seconds >= 0.05


class Cards:
    """torch, with two cards of this process; an engine begins each run with a peak of its own."""

    def __init__(self, *peaks: int) -> None:
        self.cuda = self
        self.resets = 0
        self._peaks = list(peaks)
        self._now = 0

    def next_run(self, _: int) -> None:
        self._now = self._peaks.pop(0)

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 2

    def memory_allocated(self, _: int) -> int:
        return 3

    def memory_reserved(self, _: int) -> int:
        return 6

    def max_memory_allocated(self, _: int) -> int:
        return self._now

    def max_memory_reserved(self, _: int) -> int:
        return self._now * 2

    def reset_peak_memory_stats(self, _: int) -> None:
        self.resets += 1


def test_on_cards_it_tells_what_torchs_allocator_held_at_most_in_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = Cards(99, 4, 9, 5)
    monkeypatch.setitem(sys.modules, "torch", torch)
    found = run(Watched(torch.next_run), options(Load(runs=3), warmup=1))

    assert found.memory is not None
    assert found.memory.of == "cuda"
    assert (found.memory.loaded, found.memory.peak) == (Held(allocated=6, reserved=12), Held(allocated=18, reserved=36))
    assert torch.resets == 2
