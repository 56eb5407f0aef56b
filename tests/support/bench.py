"""Benchmarks in virtual time, and results that tests compare."""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from stoker_contracts.pipelines import Pipeline
from stoker_worker.bench.document import Held, Memory, ModelLoad, Result, Target
from stoker_worker.bench.jobs import Kind, single
from stoker_worker.bench.options import Options
from stoker_worker.bench.plan import Load
from stoker_worker.bench.samples import Failure, Reply, Sample
from stoker_worker.bench.summary import figures

T = TypeVar("T")
SMALL: Mapping[str, Any] = {"width": 64, "height": 64, "num_inference_steps": 1}


class _Jumping(selectors.DefaultSelector):
    """Does not wait: the clock jumps to when something is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is due, and nothing will happen"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and moves when all wait."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def hold(self, seconds: float) -> None:
        """The host is busy with something else for so long."""
        self._jumping.now += seconds


def in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class Quiet:
    """A view that nobody looks at."""

    def say(self, words: str) -> None:
        pass

    def begin(self, total: int | None) -> None:
        pass

    def count(self, *, failed: bool) -> None:
        pass

    def end(self) -> None:
        pass


def kind(pipeline: Pipeline = Pipeline.TEXT_TO_IMAGE, **fields: Any) -> Kind:
    return single(pipeline, {"prompt": "p", **SMALL, **fields})


def options(load: Load | None = None, mix: Any = None, **others: Any) -> Options:
    """Small jobs, ten of them."""
    return Options(load or Load(runs=10), dict(others.pop("fields", SMALL)), mix, **others)


def samples(latencies: Sequence[float], failed: int = 0) -> list[Sample]:
    """Jobs one after the other, of so many seconds each, then some that failed at once."""
    found, now = [], 0.0
    for latency in latencies:
        found.append(Sample("job", now, now, now + latency, Reply(pictures=1)))
        now += latency
    return found + [Sample("job", now, now, now, Reply(failure=Failure("HTTP 500", "no")))] * failed


def result(latencies: Sequence[float], failed: int = 0, loaded: float = 2.0, peak: int = 2**30, **others: Any) -> Result:
    """The result of a run in this process."""
    chosen = options(**others)
    held = Held(allocated=2**29, reserved=2**29)
    return Result(
        tool_version="0.1.0",
        made=datetime(2026, 1, 1, tzinfo=UTC),
        target=Target(place="in-process", pipeline=Pipeline.TEXT_TO_IMAGE, model_id="org/model", devices=("a card",)),
        settings=chosen.settings(chosen.kinds(Pipeline.TEXT_TO_IMAGE, batched=False)),
        load=ModelLoad(seconds=loaded, stages={"weights": loaded}),
        memory=Memory(of="cuda", loaded=held, peak=Held(allocated=peak, reserved=peak)),
        figures=figures(samples(latencies, failed)),
    )
