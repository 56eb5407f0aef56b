"""Sending jobs: by callers that wait for their answers, or by the clock."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from stoker_worker.bench.plan import Load, Planned
from stoker_worker.bench.samples import Reply, Sample

PAUSE = 0.5
"""Seconds that a caller waits whose connection did not come about, so that a run against nobody does not spin."""
NO_CONNECTION = "connection"
"""The kind of failure that has no answer."""

Answer = TypeVar("Answer")


class Run(Generic[Answer]):
    """One measurement. `send` brings a job's answer, and `judge` says what it is worth, after the clock was looked at.

    What `send` raises ends the run and comes out of `drive`; a failure of one job is an answer. `heard` is told of each
    sample. Setting `stop` ends the run at once.
    """

    def __init__(
        self,
        send: Callable[[Planned], Awaitable[Answer]],
        judge: Callable[[Planned, Answer], Reply],
        heard: Callable[[Sample], None],
        stop: asyncio.Event,
    ) -> None:
        self._send = send
        self._judge = judge
        self._heard = heard
        self._clock = asyncio.get_running_loop().time
        self._start = 0.0
        self._stop = stop
        self.samples: list[Sample] = []
        self.abandoned = 0
        """Jobs under way when the run was stopped."""

    async def drive(self, jobs: Iterator[Planned], load: Load) -> None:
        """Send `jobs` until the last is answered, or until `stop` is set. Raises what `send` raises."""
        self._start = self._clock()
        if self._stop.is_set():
            return
        if load.rate is not None:
            await self._open(jobs)
        else:
            await self._until_stopped([asyncio.ensure_future(self._caller(jobs, load)) for _ in range(load.concurrency)])

    async def _caller(self, jobs: Iterator[Planned], load: Load) -> None:
        until = float("inf") if load.duration is None else load.duration
        while self._now() < until and (job := next(jobs, None)) is not None:
            sample = await self._sample(job, self._now())
            if sample.reply.failure is not None and sample.reply.failure.kind == NO_CONNECTION:
                await asyncio.sleep(PAUSE)

    async def _open(self, jobs: Iterator[Planned]) -> None:
        """However many are under way, each job goes when it is due."""
        under_way: set[asyncio.Future[Sample]] = set()

        async def dispatch() -> None:
            for job in jobs:
                due = job.due or 0.0
                await asyncio.sleep(max(0.0, due - self._now()))
                task = asyncio.ensure_future(self._sample(job, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            while under_way:
                await asyncio.wait(under_way)

        try:
            await self._until_stopped([asyncio.ensure_future(dispatch())])
        finally:
            await _cancelled(under_way)

    def _now(self) -> float:
        return self._clock() - self._start

    async def _sample(self, job: Planned, due: float) -> Sample:
        sent = self._now()
        try:
            answer = await self._send(job)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        ended = self._now()
        sample = Sample(job.kind.name, due, sent, ended, self._judge(job, answer))
        self.samples.append(sample)
        self._heard(sample)
        return sample

    async def _until_stopped(self, work: list[asyncio.Future[None]]) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        everything = asyncio.gather(*work)
        ends: list[asyncio.Future[Any]] = [everything, stopped]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if everything.done():
                everything.result()
        finally:
            await _cancelled([*ends, *work])


async def _cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel `tasks` and wait until they have seen it."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
