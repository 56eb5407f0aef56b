"""A worker without HTTP over an engine whose batches can be held."""

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from stoker_contracts.jobs import TextToImage
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.scheduler import NotTakenError, Rules, Scheduler
from stoker_worker.domain.line import Refusal
from stoker_worker.engine.protocol import FatalEngineError, Outcome, Output, Row, Steps, Task
from stoker_worker.engine.stub import StubEngine, StubScript
from tests.support.waiting import until


class Gate(StubEngine):
    """A stub whose batches can be held: each tells its seeds and goes on when it is let. The next one raises the last of `fail`."""

    def __init__(self, **script: Any) -> None:
        super().__init__(StubScript(**({"step_seconds": 0} | script)))
        self.batches: list[list[int]] = []
        self.open = True
        self._passes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.fail: list[Exception] = []
        self.gone: set[int] = set()
        self.unparked = 0

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        self.batches.append([row.seed for row in rows])
        while not self.open and self._passes.empty():
            self.gone |= steps.stepped()
            time.sleep(0.001)
        if not self.open:
            self._passes.get()
        if self.fail:
            raise self.fail.pop()
        return super().run(rows, steps)

    def let_one_pass(self) -> None:
        self._passes.put(None)

    def unpark(self) -> None:
        self.unparked += 1


class Worker:
    """A scheduler whose model is loaded."""

    def __init__(self, engine: Gate, capacity: int, rules: Rules) -> None:
        self.engine = engine
        self.metrics = Metrics()
        self.failures: list[FatalEngineError] = []
        self.scheduler = Scheduler(engine, capacity, self.metrics, self.failures.append, rules)
        self.calls: list[asyncio.Task[Output]] = []

    def send(self, seed: int, images: int = 1, prompt: str = "p", side: int = 64, deadline: float | None = None) -> None:
        job = TextToImage(prompt=prompt, width=side, height=side, num_inference_steps=2, num_images_per_prompt=images)
        self.calls.append(asyncio.create_task(self.scheduler.run(Task(job, seed, deadline=deadline))))

    async def send_behind(self, *seeds: int, **how: Any) -> None:
        """Hold the model with a job, seed 0, and line these up behind it."""
        self.engine.open = False
        self.send(0)
        await until(lambda: self.engine.batches == [[0]])
        for seed in seeds:
            self.send(seed, **how)
        await self.in_flight(1 + len(seeds))

    async def send_together(self, *seeds: int, **how: Any) -> None:
        """Hold a batch of these jobs, behind a job with seed 0 that has been done."""
        await self.send_behind(*seeds, **how)
        self.engine.let_one_pass()
        await until(lambda: self.engine.batches[1:] == [list(seeds)])

    async def in_flight(self, count: int) -> None:
        await until(lambda: self.scheduler.readiness().in_flight == count)

    async def ends(self) -> list[Any]:
        """What became of each call: its seeds, or the kind of its error."""
        self.engine.open = True
        ends = await asyncio.gather(*self.calls, return_exceptions=True)
        return [end.seeds if isinstance(end, Output) else type(end) for end in ends]

    def counted(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("stoker_worker_batches_total", {"outcome": outcome}) or 0.0

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"stoker_worker_{name}")


@asynccontextmanager
async def worker(
    engine: Gate | None = None, capacity: int = 16, max_batch: int = 8, step_timeout: float = 120.0, park_after: float = 0.0
) -> AsyncIterator[Worker]:
    made = Worker(engine or Gate(), capacity, Rules(max_batch, step_timeout, park_after))
    made.scheduler.start()
    await until(lambda: made.scheduler.readiness().ready)
    yield made
    for call in made.calls:
        call.cancel()
    made.engine.open = True
    await asyncio.gather(*made.calls, return_exceptions=True)


def refusal_of(call: "asyncio.Task[Output]") -> Refusal:
    error = call.exception()
    assert isinstance(error, NotTakenError)
    return error.refusal
