"""Jobs that wait, run, lose their worker or are refused, over real HTTP to workers on loopback."""

import asyncio

import httpx2
import pytest
from aiohttp import web

from stoker_orchestrator.app import attempts
from stoker_orchestrator.domain.model import Obstacle
from tests.support.fleet import model
from tests.support.orchestrator import JOB, code, world
from tests.support.waiting import until
from tests.support.workers import Behaviour, FullAtFirst, die, die_midway, draining


async def test_a_cold_model_is_woken_once_and_its_jobs_are_served_when_it_is_ready() -> None:
    async with world() as here:
        jobs = [asyncio.create_task(here.post(json=JOB)) for _ in range(3)]
        await until(lambda: here.waiting == 3 and here.fleet.scaled)
        await here.worker("w")
        answers = await asyncio.gather(*jobs)

    assert here.fleet.scaled == [("m", 1)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.headers["stoker-cold-start"] for answer in answers} == {"true"}
    assert all(int(answer.headers["stoker-queue-ms"]) >= 0 for answer in answers)


async def test_a_cold_model_that_does_not_come_in_time_is_a_503() -> None:
    async with world(model(start_timeout=0.05)) as here:
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "start_timeout")
    assert answer.headers["retry-after"]


async def test_a_model_with_an_obstacle_is_a_503_with_its_reason() -> None:
    async with world(model(obstacle=Obstacle("ImageNotPullable", "no such image"))) as here:
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "ImageNotPullable")


async def test_a_line_that_is_full_is_a_429() -> None:
    async with world(line_limit=1) as here:
        held = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting == 1)
        answer = await here.post(json=JOB)
        await here.worker("w")
        await held

    assert code(answer) == (429, "line_full")
    assert int(answer.headers["retry-after"]) == 16, "half of what a start is taken to last"


async def test_never_more_jobs_than_its_capacity_reach_a_worker() -> None:
    now, most = 0, 0

    async def counting(_: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return web.json_response({})

    async with world() as here:
        await here.worker("w", counting, capacity=2)
        answers = await asyncio.gather(*[here.post(json=JOB) for _ in range(12)])

    assert {answer.status_code for answer in answers} == {200}
    assert most == 2


@pytest.mark.parametrize("loss", [die, draining])
async def test_a_worker_lost_before_its_first_byte_costs_a_second_try_elsewhere(loss: Behaviour) -> None:
    async with world() as here:
        lost, good = await here.worker("a", loss), await here.worker("b")
        answer = await here.post(json=JOB)

    assert answer.status_code == 200
    assert answer.headers["stoker-worker"] == "b"
    assert lost.requests[0][2] == good.requests[0][2]


async def test_a_worker_that_is_full_with_anothers_jobs_is_asked_again_and_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FULL_PAUSE_SECONDS", 0.01)
    async with world() as here:
        worker = await here.worker("w", FullAtFirst(times=3))
        answer = await here.post(json=JOB)

    assert answer.status_code == 200
    assert len(worker.requests) == 4


async def test_a_worker_that_stays_full_is_a_503_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FULL_PAUSE_SECONDS", 0.01)
    async with world(model(start_timeout=0.1)) as here:
        await here.worker("w", FullAtFirst(times=1000))
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "worker_full")
    assert answer.headers["retry-after"]


async def test_a_worker_lost_in_the_middle_breaks_the_answer_off() -> None:
    async with world() as here:
        await here.worker("a", die_midway)
        good = await here.worker("b")
        with pytest.raises(httpx2.RemoteProtocolError):
            await here.post(json=JOB)

    assert good.requests == []


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_workers_own_refusal_passes_through(status: int) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": {"msg": "no"}}, status=status)

    async with world() as here:
        await here.worker("w", refuse)
        other = await here.worker("x")
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.json()) == (status, {"detail": {"msg": "no"}})
    assert other.requests == []
