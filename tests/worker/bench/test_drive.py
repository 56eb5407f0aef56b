"""Callers and the clock, in virtual time."""

import asyncio

import pytest

from stoker_worker.bench.drive import NO_CONNECTION, PAUSE, Run
from stoker_worker.bench.plan import Load, Planned, planned
from stoker_worker.bench.samples import Failure, Reply, Sample
from tests.support.bench import VirtualLoop, in_virtual_time, kind


class Server:
    """Takes so long for each job, some at a time, the others wait in a line."""

    def __init__(self, seconds: float, at_a_time: int = 1000) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(at_a_time)
        self.under_way = 0
        self.most = 0

    async def __call__(self, job: Planned) -> int:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async with self._free:
                await asyncio.sleep(self._seconds)
        finally:
            self.under_way -= 1
        return job.number


def judged(_: Planned, __: int) -> Reply:
    return Reply(pictures=1)


async def driven(server: Server, load: Load, stop_after: float | None = None) -> Run[int]:
    stop = asyncio.Event()
    if stop_after is not None:
        asyncio.get_running_loop().call_later(stop_after, stop.set)
    run = Run(server, judged, lambda _: None, stop)
    await run.drive(planned((kind(),), load, seed=0), load)
    return run


def latencies(samples: list[Sample]) -> list[float]:
    return [round(sample.latency, 6) for sample in samples]


def test_a_closed_loop_has_as_many_jobs_under_way_as_callers() -> None:
    async def go() -> None:
        server = Server(1)
        run = await driven(server, Load(runs=7, concurrency=3))

        assert server.most == 3
        assert latencies(run.samples) == [1] * 7
        assert [sample.ended for sample in run.samples] == [1, 1, 1, 2, 2, 2, 3]

    in_virtual_time(go())


def test_a_closed_loop_begins_no_job_after_its_duration_and_waits_for_those_that_have_begun() -> None:
    async def go() -> None:
        run = await driven(Server(1), Load(duration=2.5, concurrency=2))

        assert [sample.ended for sample in run.samples] == [1, 1, 2, 2, 3, 3]
        assert run.abandoned == 0

    in_virtual_time(go())


def test_in_an_open_loop_the_latency_of_a_server_that_falls_behind_grows() -> None:
    async def go() -> None:
        server = Server(1, at_a_time=1)
        run = await driven(server, Load(runs=4, rate=2, arrivals="uniform"))

        assert [sample.due for sample in run.samples] == [0, 0.5, 1, 1.5]
        assert [sample.sent for sample in run.samples] == [0, 0.5, 1, 1.5]
        assert latencies(run.samples) == [1, 1.5, 2, 2.5]
        assert server.most == 3

    in_virtual_time(go())


def test_a_closed_loop_hides_that_the_same_server_falls_behind() -> None:
    async def go() -> None:
        run = await driven(Server(1, at_a_time=1), Load(runs=4))

        assert latencies(run.samples) == [1] * 4

    in_virtual_time(go())


def test_a_host_that_sends_late_does_not_make_the_server_faster() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        run = Run(Server(1), judged, lambda _: None, asyncio.Event())
        load = Load(runs=2, rate=2, arrivals="uniform")
        loop.call_later(0.4, loop.hold, 0.6)
        await run.drive(planned((kind(),), load, seed=0), load)

        late = run.samples[-1]
        assert (late.due, late.sent, round(late.latency, 6)) == (0.5, 1.0, 1.5)

    in_virtual_time(go())


@pytest.mark.parametrize("load", [Load(concurrency=2), Load(rate=2, arrivals="uniform")])
def test_a_stop_ends_the_run_at_once_and_keeps_what_was_measured(load: Load) -> None:
    async def go() -> None:
        server = Server(1)
        run = await driven(server, load, stop_after=1.75)

        assert len(run.samples) == 2
        assert run.abandoned == 2
        assert server.under_way == 0
        assert asyncio.get_running_loop().time() == 1.75

    in_virtual_time(go())


def test_a_run_that_was_stopped_before_it_began_sends_nothing() -> None:
    async def go() -> None:
        stop = asyncio.Event()
        stop.set()
        run = Run(server := Server(1), judged, lambda _: None, stop)
        await run.drive(planned((kind(),), Load(), 0), Load())

        assert (server.most, run.samples, run.abandoned) == (0, [], 0)

    in_virtual_time(go())


def test_callers_that_nobody_answers_pause() -> None:
    async def go() -> None:
        run = Run(Server(0), lambda *_: Reply(failure=Failure(NO_CONNECTION)), lambda _: None, asyncio.Event())
        await run.drive(planned((kind(),), load := Load(duration=2), 0), load)

        assert [sample.sent for sample in run.samples] == [0, PAUSE, 2 * PAUSE, 3 * PAUSE]

    in_virtual_time(go())


def test_the_time_that_it_takes_to_look_at_an_answer_is_in_no_latency() -> None:
    async def go() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        looked: list[int] = []

        def look(_: Planned, number: int) -> Reply:
            loop.hold(5)
            looked.append(number)
            return Reply(pictures=1)

        run = Run(Server(1), look, lambda _: None, asyncio.Event())
        await run.drive(planned((kind(),), load := Load(runs=2), 0), load)

        assert looked == [0, 1]
        assert latencies(run.samples) == [1, 1]

    in_virtual_time(go())


def test_everybody_who_listens_hears_of_each_job() -> None:
    async def go() -> None:
        heard: list[Sample] = []
        run = Run(Server(1), judged, heard.append, asyncio.Event())
        await run.drive(planned((kind(),), load := Load(runs=3, concurrency=2), 0), load)

        assert heard == run.samples

    in_virtual_time(go())
