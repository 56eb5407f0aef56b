"""Benchmark a model in this process: the worker's engine and encoders, without its line and without HTTP."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from PIL.Image import Image

from stoker_contracts.jobs import ImageToImage, ImageToVideo, JobLimits, seed_after
from stoker_contracts.pipelines import Pipeline
from stoker_worker.bench.document import ModelLoad, Result, Target, WarmUp
from stoker_worker.bench.facts import processor, tool_version, versions
from stoker_worker.bench.failure import BenchError
from stoker_worker.bench.jobs import Kind, MixError
from stoker_worker.bench.memory import MemoryWatch
from stoker_worker.bench.options import Options, as_mp4, takes_image
from stoker_worker.bench.pictures import picture
from stoker_worker.bench.plan import Planned, planned
from stoker_worker.bench.progress import View
from stoker_worker.bench.samples import Failure, Reply, Sample
from stoker_worker.bench.summary import figures
from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.device_memory import device_memory
from stoker_worker.engine.protocol import (
    BrokenResultError,
    CancelledError,
    Engine,
    EngineError,
    FatalEngineError,
    Made,
    OutOfMemoryError,
    RefusedError,
    Row,
)

_KINDS: dict[type[Exception], str] = {
    OutOfMemoryError: "out of memory",
    RefusedError: "refused by the model",
    BrokenResultError: "broken result",
}
_TORCH = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is measured, and what a worker with it takes. `make` makes its engine; `engine` is its name."""

    pipeline: Pipeline
    model_id: str
    engine: str
    switches: tuple[str, ...]
    limits: JobLimits
    make: Callable[[], Engine]


class Stop:
    """Ctrl-C, as an engine sees it: it ends at the next step. A second one ends the process's work where it stands."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_: Any) -> None:
        """Somebody pressed Ctrl-C."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def stepped(self) -> frozenset[int]:
        """After each step of the engine. Raises CancelledError when nobody waits any more."""
        if self.asked:
            message = "stopped at the keyboard"
            raise CancelledError(message)
        return frozenset()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals, where this is the thread that gets them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {name: signal.signal(name, self.ask) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


class Bench:
    """A loaded engine, and what its jobs look like."""

    def __init__(self, engine: Engine, options: Options, images: dict[str, Image], stop: Stop) -> None:
        self._engine = engine
        self._batch_size = options.batch_size
        self._images = images
        self._stop = stop
        self.lost: FatalEngineError | None = None
        """Set when the engine cannot go on."""

    @property
    def stopped(self) -> bool:
        """Whether no further job is to be run: at Ctrl-C, or where the engine is lost."""
        return self._stop.asked or self.lost is not None

    def run(self, job: Planned) -> Reply:
        """One batch through engine and encoders. Raises CancelledError when it was stopped."""
        began = time.monotonic()
        try:
            made = self._engine.run(self._rows(job), self._stop).rows
            inferred = time.monotonic()
            pictures = [each for each in made if not isinstance(each, EngineError)]
            for each in pictures:
                _encode(job.kind, each)
        except CancelledError:
            raise
        except FatalEngineError as error:
            self.lost = error
            return Reply(failure=Failure(f"lost engine: {error.reason}", str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a model or an encoder raises is what is counted
            return Reply(failure=_failure(error))
        stages = {"inference": inferred - began, "encode": time.monotonic() - inferred}
        failed = next((each for each in made if isinstance(each, EngineError)), None)
        return Reply(sum(map(len, pictures)), None if failed is None else _failure(failed), stages=stages)

    def _rows(self, job: Planned) -> list[Row]:
        count = self._batch_size * job.kind.rows
        return [Row(job.kind.job, seed_after(job.seed, index), self._images.get(job.kind.name)) for index in range(count)]


def measure(subject: Subject, options: Options, view: View, stop: Stop) -> Result:
    """Load, warm up, run, and say what came of it. Raises BenchError."""
    try:
        kinds = options.kinds(subject.pipeline, batched=False)
    except MixError as error:
        raise BenchError(str(error)) from None
    images = {kind.name: picture(kind.size, options.image) for kind in kinds} if takes_image(subject.pipeline) else {}
    _check(subject.limits, kinds, images)
    engine = subject.make()
    view.say(f"loading {subject.model_id} for {subject.pipeline}")
    load = _load(engine)
    view.say(f"loaded in {load.seconds:.2f} s")
    watch = MemoryWatch()
    bench = Bench(engine, options, images, stop)
    with stop.listening():
        warmup = _warm(bench, kinds, options, view)
        watch.begin()
        samples, abandoned = _measured(bench, kinds, options, view, watch)
    return Result(
        tool_version=tool_version(),
        made=datetime.now(UTC),
        interrupted=stop.asked,
        target=_target(subject, engine),
        settings=options.settings(kinds),
        load=load,
        memory=watch.memory(),
        warmup=warmup,
        figures=figures(samples, abandoned),
    )


def _check(limits: JobLimits, kinds: Sequence[Kind], images: Mapping[str, Image]) -> None:
    """Raises BenchError for a job that a worker would refuse."""
    for kind in kinds:
        refusal = limits.refusal(kind.job, images[kind.name].size if isinstance(kind.job, ImageToImage) else None)
        if refusal is not None:
            message = f"{kind.name}: {refusal}" if len(kinds) > 1 else refusal
            raise BenchError(message)


def _load(engine: Engine) -> ModelLoad:
    stages: dict[str, float] = {}
    began = time.monotonic()
    try:
        engine.load(lambda name, seconds: stages.update({name: round(seconds, 6)}))
    except FatalEngineError as error:
        raise BenchError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _TORCH:
            raise
        message = f"{error.name} is not installed here. Install stoker-worker[diffusers], or measure a worker with --url."
        raise BenchError(message) from None
    return ModelLoad(seconds=round(time.monotonic() - began, 6), stages=stages)


def _warm(bench: Bench, kinds: Sequence[Kind], options: Options, view: View) -> WarmUp:
    """Each kind in its turn. Raises BenchError where the model takes none of them."""
    if options.warmup:
        view.say(f"warming up: {options.warmup} run{'s' if options.warmup > 1 else ''}")
    taken: list[float] = []
    failed = 0
    for number in range(options.warmup):
        began = time.monotonic()
        try:
            reply = bench.run(Planned(number, kinds[number % len(kinds)], options.seed))
        except CancelledError:
            break
        taken.append(round((time.monotonic() - began) * 1000, 3))
        failed += reply.failure is not None
        if reply.failure is not None and (bench.lost or reply.failure.kind == _KINDS[RefusedError]):
            raise BenchError(reply.failure.words)
    return WarmUp(milliseconds=tuple(taken), failed=failed)


def _measured(
    bench: Bench, kinds: Sequence[Kind], options: Options, view: View, watch: MemoryWatch
) -> tuple[list[Sample], int]:  # fmt: skip
    """The samples, and how many runs were given up."""
    view.say("measuring")
    view.begin(options.load.runs)
    start = time.monotonic()
    samples: list[Sample] = []
    try:
        for job in planned(kinds, options.load, options.seed):
            if bench.stopped or _over(start, options.load.duration):
                break
            sent = time.monotonic() - start
            reply = bench.run(job)
            samples.append(Sample(job.kind.name, sent, sent, time.monotonic() - start, reply))
            watch.look()
            view.count(failed=reply.failure is not None)
    except CancelledError:
        return samples, 1
    finally:
        view.end()
    return samples, 0


def _over(start: float, duration: float | None) -> bool:
    return duration is not None and time.monotonic() - start >= duration


def _encode(kind: Kind, pictures: Made) -> None:
    """As the worker does for its callers."""
    if isinstance(kind.job, ImageToVideo) and as_mp4(kind):
        encode_mp4(pictures, kind.job.fps)
        return
    for each in pictures:
        encode_png(each)


def _failure(error: Exception) -> Failure:
    kind = _KINDS.get(type(error), "" if not isinstance(error, EngineError) else "failed")
    return Failure(kind or type(error).__name__, str(error).split("\n", 1)[0][:200])


def _target(subject: Subject, engine: Engine) -> Target:
    cards = tuple(card.name for card in engine.hardware().values())
    used = cards if device_memory() is not None else ()
    return Target(
        place="in-process",
        pipeline=subject.pipeline,
        model_id=subject.model_id,
        engine=subject.engine,
        devices=used or (processor(),),
        switches=subject.switches,
        lossy=engine.lossy,
        versions=versions(with_torch=subject.engine != "stub"),
    )
