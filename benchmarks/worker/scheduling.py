"""How well the scheduler packs work, and how long small jobs wait beside large ones: the stub engine, in process, without HTTP."""

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.processes import BenchmarkError
from benchmarks.result import quantile
from stoker_contracts.jobs import TextToImage
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.scheduler import Rules, Scheduler
from stoker_worker.domain.row_limits import TRIALS
from stoker_worker.engine.protocol import FatalEngineError, Row, Task, Unheard
from stoker_worker.engine.stub import StubEngine, StubScript

STEP_SECONDS = 0.004
SEATS = 64
ROWS = 8
SEED = 7
PACKED_JOBS = 400
MIXED_JOBS = 450
LOAD = 0.85
"""Share of the time for which the arrivals keep a model busy that runs one job after the other."""
_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs of one size. `share` is what each further row adds to a step: little where a picture leaves the card idle, else all."""

    side: int
    steps: int
    share: float
    weight: int


SMALL = Kind(side=64, steps=2, share=0.3, weight=80)
KINDS = (SMALL, Kind(side=96, steps=8, share=0.6, weight=15), Kind(side=128, steps=30, share=1.0, weight=5))
IMAGES = (1, 1, 1, 2, 4)


class Card(StubEngine):
    """A stub on which small pictures gain by company and large ones do not."""

    def __init__(self) -> None:
        super().__init__(StubScript(step_seconds=STEP_SECONDS))

    def step_seconds(self, rows: Sequence[Row]) -> float:
        """Seconds of a step, by the size of its pictures."""
        share = next(kind.share for kind in KINDS if kind.side == rows[0].size[0]) if rows else 0.0
        return STEP_SECONDS * (1 + share * (len(rows) - 1))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job of a trace, and the second at which it comes."""

    at: float
    kind: Kind
    task: Task


def trace(jobs: int, per_second: float) -> list[Arrival]:
    """So many jobs of all kinds, the same at each call, at random moments."""
    chance = random.Random(SEED)  # noqa: S311 - a trace, no secret
    arrivals, at = [], 0.0
    for number in range(jobs):
        at += chance.expovariate(per_second)
        kind = chance.choices(KINDS, [each.weight for each in KINDS])[0]
        images = chance.choice(IMAGES) if kind is SMALL else 1
        arrivals.append(Arrival(at, kind, task(kind, images, number * max(IMAGES))))
    return arrivals


def task(kind: Kind, images: int, seed: int = 0) -> Task:
    """A job of this kind."""
    side = kind.side
    job = TextToImage(prompt="p", width=side, height=side, num_inference_steps=kind.steps, num_images_per_prompt=images)
    return Task(job, seed)


def one_by_one_seconds(arrivals: Sequence[Arrival]) -> float:
    """How long a model works on these, one job after the other."""
    return sum(each.kind.steps * STEP_SECONDS * (1 + each.kind.share * (len(each.task.rows()) - 1)) for each in arrivals)


def ideal_seconds(arrivals: Sequence[Arrival]) -> float:
    """The ideal packing, run on the same engine: all work is there, each key runs in full batches, and nothing is in between."""
    card, lanes = Card(), defaultdict[Hashable, list[Row]](list)
    for each in arrivals:
        for row in each.task.rows():
            lanes[card.key(row)].append(row)
    began = time.monotonic()
    for rows in lanes.values():
        for first in range(0, len(rows), ROWS):
            card.run(rows[first : first + ROWS], Unheard())
    return time.monotonic() - began


async def scheduled() -> Scheduler:
    """A scheduler whose model is loaded. Raises BenchmarkError."""
    failures: list[FatalEngineError] = []
    scheduler = Scheduler(
        Card(), SEATS, Metrics(), failures.append, Rules(max_batch=ROWS, step_timeout=_START_SECONDS, park_after=0)
    )
    scheduler.start()
    deadline = time.monotonic() + _START_SECONDS
    while not scheduler.readiness().ready:
        if failures or time.monotonic() > deadline:
            message = "the stub did not load"
            raise BenchmarkError(message)
        await asyncio.sleep(0.001)
    return scheduler


async def packed_seconds(arrivals: Sequence[Arrival]) -> float:
    """The trace through the scheduler, with as many callers as it has seats, each sending its next job when one is answered."""
    scheduler, left = await scheduled(), iter(arrivals)

    async def caller() -> None:
        for each in left:
            await scheduler.run(each.task)

    began = time.monotonic()
    await asyncio.gather(*[caller() for _ in range(SEATS)])
    return time.monotonic() - began


async def learn(scheduler: Scheduler) -> None:
    """Let the scheduler see what company is worth to each kind, as it has after some minutes of work."""
    for kind, rows, _ in itertools.product(KINDS, (1, 2, 4), range(TRIALS)):
        await scheduler.run(task(kind, rows))


async def small_latencies(arrivals: Sequence[Arrival], *, fifo: bool) -> list[float]:
    """Seconds of each small job, all jobs coming when the trace says; `fifo`: one job after the other, in the order they come."""
    scheduler = await scheduled()
    if not fifo:
        await learn(scheduler)
    card, turn, thread = Card(), asyncio.Lock(), ThreadPoolExecutor(1)
    began = time.monotonic()

    async def served(each: Arrival) -> float:
        await asyncio.sleep(began + each.at - time.monotonic())
        came = time.monotonic()
        if fifo:
            async with turn:
                await asyncio.get_running_loop().run_in_executor(thread, card.run, each.task.rows(), Unheard())
        else:
            await scheduler.run(each.task)
        return time.monotonic() - came

    latencies = await asyncio.gather(*[served(each) for each in arrivals])
    thread.shutdown()
    return list(itertools.compress(latencies, [each.kind is SMALL for each in arrivals]))


def scheduling() -> dict[str, float]:
    """`packing`: throughput as a share of the ideal. `small_p95_vs_fifo`: 95th percentile of small jobs' latency beside FIFO's."""
    crowd = trace(PACKED_JOBS, 1.0)
    packing = ideal_seconds(crowd) / asyncio.run(packed_seconds(crowd))
    alone = one_by_one_seconds(crowd) / len(crowd)
    mixed = trace(MIXED_JOBS, LOAD / alone)
    ours, fifo = [quantile(asyncio.run(small_latencies(mixed, fifo=each)), 0.95) for each in (False, True)]
    return {"packing": packing, "small_p95_vs_fifo": ours / fifo, "small_p95_s": ours, "small_p95_fifo_s": fifo}
