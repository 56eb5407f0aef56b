"""Workers that hung, and are back: who lost a job there may meet them again."""

import asyncio

from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import EndpointState
from stoker_orchestrator.domain.outliers import Probe, Pulse
from stoker_orchestrator.domain.switchboard import Granted, Outcome, Switchboard
from tests.support.fleet import endpoint
from tests.support.orchestrator import JOB, world
from tests.support.switchboards import M, granted, switchboard
from tests.support.waiting import until
from tests.support.workers import draining, loading


def ejected_with_a_lost_job() -> Switchboard:
    """A model whose only worker hung with a job, which waits for another."""
    board = switchboard("a")
    (running,) = [each for each in board.arrive(1, M, Ask(1), now=0) if isinstance(each, Granted)]
    for moment in (3, 5):
        board.probed("a", Pulse(alive=False), now=moment)
    board.release(running, now=5, outcome=Outcome.LOST)
    assert granted(board.arrive(2, M, Ask(1, excluded=("a",)), now=5)) == []
    return board


def test_a_lost_job_meets_its_worker_again_once_that_has_recovered() -> None:
    board = ejected_with_a_lost_job()

    assert granted(board.probed("a", Pulse(alive=True, ready=True), now=9)) == [(2, "a")]


def test_an_ejected_worker_is_back_when_its_fleet_finds_it_ready_again() -> None:
    board = ejected_with_a_lost_job()
    board.apply(endpoint("a", state=EndpointState.STARTING), now=6)

    assert granted(board.apply(endpoint("a"), now=7)) == [(2, "a")]


def test_a_worker_that_loses_another_job_after_its_recovery_is_not_met_again() -> None:
    board = ejected_with_a_lost_job()
    (again,) = [each for each in board.probed("a", Pulse(alive=True, ready=True), now=9) if isinstance(each, Granted)]
    board.release(again, now=10, outcome=Outcome.LOST)

    assert granted(board.arrive(3, M, Ask(1, excluded=("a",)), now=10)) == []


def test_a_lost_job_does_not_meet_its_worker_again_while_that_loads() -> None:
    board = ejected_with_a_lost_job()

    assert granted(board.probed("a", Pulse(alive=True, ready=False), now=9)) == []
    assert granted(board.probed("a", Pulse(alive=True, ready=True), now=20)) == [(2, "a")]


def test_whoever_leads_asks_the_worker_that_a_job_was_lost_on() -> None:
    board = switchboard("a")
    assert granted(board.arrive(1, M, Ask(1, excluded=("a",)), now=5)) == []

    assert [each.endpoint.id for each in board.expire(now=5) if isinstance(each, Probe)] == ["a"]
    assert granted(board.probed("a", Pulse(alive=True, ready=True), now=6)) == [(1, "a")]


async def test_a_job_that_a_worker_does_not_take_while_it_loads_goes_to_another() -> None:
    async with world() as here:
        worker = await here.worker("w", loading)
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting == 1)
        await here.worker("x")

        assert (await job).headers["stoker-worker"] == "x"
    assert len(worker.requests) == 1


async def test_a_worker_that_had_recovered_and_drains_is_asked_once() -> None:
    async with world() as here:
        worker = await here.worker("w", draining)
        here.orchestrator.broker.registry.endpoints[0].recovered = True
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting == 1)
        await here.worker("x")

        assert (await job).headers["stoker-worker"] == "x"
    assert len(worker.requests) == 1
