"""Jobs on the short way, and what sends them the long one, over real HTTP to workers on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from stoker_orchestrator.app import attempts
from stoker_orchestrator.app.jobs import JobRoutes
from stoker_orchestrator.domain.retries import QUARANTINE_SECONDS
from tests.support.orchestrator import JOB, World, code, world
from tests.support.raw import Caller, RawAnswer, request
from tests.support.waiting import until
from tests.support.workers import FakeWorker, FullAtFirst, die, die_midway, draining, echo

BODY = b'{"prompt":"p","model_id":"org/m"}'
SMALL = request(body=BODY)
"""A job in one piece: head and body are read at once."""


@pytest.fixture
def detours(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the jobs that left the short way."""
    seen: list[str] = []
    detour = JobRoutes.detour

    def noted(self: JobRoutes, flight: Any, begun: Any) -> None:
        seen.append(flight.identity)
        detour(self, flight, begun)

    monkeypatch.setattr(JobRoutes, "detour", noted)
    return seen


@asynccontextmanager
async def warm_world(**settings: Any) -> AsyncIterator[tuple[World, FakeWorker]]:
    """A world with one worker, to which a connection is kept."""
    async with world(**settings) as here:
        worker = await here.worker("w")
        assert (await here.post(json=JOB)).status_code == 200
        yield here, worker


async def sent_at_once(here: World, job: bytes = SMALL) -> RawAnswer:
    """The answer to a job that comes in one piece, as from a client that does not send its head on its own."""
    async with Caller(here.url) as caller:
        caller.say(job)
        return await caller.answer()


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_job_that_waits_for_nothing_but_its_worker_needs_no_task_and_is_answered_as_others_are(detours: list[str]) -> None:
    async with warm_world() as (here, worker):
        release = asyncio.Event()

        async def held(request: web.Request) -> web.StreamResponse:
            await release.wait()
            return await echo(request)

        worker.behaviour = held
        mine = request("/text-to-image", "Stoker-Request-Id: mine", "Accept: a/b", body=BODY)
        job = asyncio.create_task(sent_at_once(here, mine))
        await until(lambda: len(worker.requests) == 2)
        assert here.metric("stoker_jobs_total", model="m", status="200", reason="answered") == 1
        assert here.orchestrator.jobs._attempts.under_way == 1
        assert not [task for task in asyncio.all_tasks() if "CallerConnection.serve" in repr(task)]
        release.set()
        answer = await job
        await until(lambda: here.orchestrator.jobs.in_flight == 0)

        assert here.metric("stoker_jobs_total", model="m", status="200", reason="answered") == 2
        assert (here.orchestrator.jobs._attempts.under_way, here.orchestrator.budget.used) == (0, 0)
    told = {name: value for name, value in answer.headers.items() if name.startswith("stoker")}
    assert told == {"stoker-request-id": "mine", "stoker-model": "m", "stoker-worker": "w", "stoker-queue-ms": "0"}
    _, headers, body = worker.requests[1]
    assert (headers["Stoker-Request-Id"], headers["Accept"], len(body)) == ("mine", "a/b", answer.json["length"])
    assert detours == []


async def test_a_caller_who_hangs_up_on_the_short_way_cancels_the_job_and_frees_the_slot(detours: list[str]) -> None:
    async with warm_world() as (here, worker):
        worker.behaviour = never
        async with Caller(here.url) as caller:
            caller.say(SMALL)
            await until(lambda: len(worker.requests) == 2)
        await until(lambda: worker.cancelled)
        worker.behaviour = echo

        assert here.metric("stoker_jobs_total", model="m", status="499", reason="caller_gone") == 1
        assert (await sent_at_once(here)).status == 200
    assert detours == []


async def test_a_worker_lost_on_the_short_way_costs_a_second_try_elsewhere(detours: list[str]) -> None:
    async with warm_world() as (here, worker):
        worker.behaviour = die
        other = await here.worker("x")
        answer = await sent_at_once(here)

        assert (answer.status, answer.headers["stoker-worker"]) == (200, "x")
        assert here.metric("stoker_job_retries_total", model="m") == 1
        await until(lambda: here.orchestrator.jobs.in_flight == 0)
    assert other.requests[0][2] == worker.requests[1][2] == BODY
    assert len(detours) == 1


async def test_a_kept_connection_that_the_worker_has_closed_costs_a_job_on_the_short_way_nothing() -> None:
    async with warm_world() as (here, worker):
        lost = 0

        async def hang_up_once(request: web.Request) -> web.StreamResponse:
            nonlocal lost
            lost += 1
            return await (die(request) if lost == 1 else echo(request))

        worker.behaviour = hang_up_once
        answer = await sent_at_once(here)

    assert (answer.status, lost) == (200, 2)


async def test_a_worker_that_takes_no_job_on_the_short_way_is_asked_again_or_left(
    monkeypatch: pytest.MonkeyPatch, detours: list[str]
) -> None:
    monkeypatch.setattr(attempts, "FULL_PAUSE_SECONDS", 0.01)

    async def leave_to_another(request: web.Request) -> web.StreamResponse:
        await here.worker("x")  # not there before: nobody could tell which of two free workers is asked first
        return await draining(request)

    async with warm_world() as (here, worker):
        worker.behaviour = FullAtFirst(times=2)
        assert (await sent_at_once(here)).status == 200
        worker.behaviour = leave_to_another
        answer = await sent_at_once(here)

    assert answer.headers["stoker-worker"] == "x"
    assert len(detours) == 2


async def test_a_workers_own_500_passes_through_from_the_short_way() -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": {"msg": "no"}}, status=500)

    async with warm_world() as (here, worker):
        worker.behaviour = refuse
        answer = await sent_at_once(here)

    assert (answer.status, answer.json) == (500, {"detail": {"msg": "no"}})


async def test_an_answer_that_comes_in_parts_goes_on_the_long_way_and_arrives_whole(detours: list[str]) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "3000000"})
        await response.prepare(request)
        for _ in range(30):
            await response.write(b"x" * 100_000)
        return response

    async with warm_world() as (here, worker):
        worker.behaviour = large
        answers = [await sent_at_once(here) for _ in range(2)]

    assert [answer.body for answer in answers] == [b"x" * 3_000_000] * 2
    assert len(detours) == 2


async def test_an_answer_that_breaks_off_breaks_off_for_its_caller() -> None:
    async with warm_world() as (here, worker):
        worker.behaviour = die_midway
        with pytest.raises(asyncio.IncompleteReadError):
            await sent_at_once(here)
        await until(lambda: here.orchestrator.jobs.in_flight == 0)

        assert here.metric("stoker_jobs_total", model="m", status="200", reason="worker_lost") == 1


async def test_a_job_on_the_short_way_whose_worker_is_given_up_goes_to_another_one(detours: list[str]) -> None:
    async with warm_world() as (here, worker):
        worker.behaviour = never
        job = asyncio.create_task(sent_at_once(here))
        await until(lambda: len(worker.requests) == 2)
        await here.worker("good")
        (slot,) = here.orchestrator.broker.local._taken
        assert slot.give_up is not None
        slot.give_up()
        answer = await job

    assert (answer.status, answer.headers["stoker-worker"]) == (200, "good")
    assert len(detours) == 1
    assert len(worker.requests) == 2, "a worker that is given up is not asked again"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"json": JOB | {"model_id": "org/other"}}, (404, "model_not_found")),
        ({"content": b"{"}, (400, "invalid_request")),
        ({"json": JOB, "headers": {"Stoker-Timeout": "soon"}}, (400, "invalid_request")),
    ],
)
async def test_what_cannot_take_the_short_way_is_told_why(parts: dict[str, Any], expected: tuple[int, str]) -> None:
    async with warm_world() as (here, worker):
        answer = await here.post(**parts)

    assert code(answer) == expected
    assert len(worker.requests) == 1


async def test_a_job_that_finds_no_free_worker_waits_in_line_behind_those_on_the_short_way() -> None:
    async with warm_world() as (here, worker):
        release = asyncio.Event()

        async def held(request: web.Request) -> web.StreamResponse:
            await release.wait()
            return await echo(request)

        worker.behaviour = held
        jobs = [asyncio.create_task(here.post(json=JOB | {"seed": seed})) for seed in range(3)]
        await until(lambda: len(worker.requests) == 2 and here.waiting == 2)
        release.set()

        assert [(await job).status_code for job in jobs] == [200] * 3


async def test_one_job_that_ended_its_workers_closes_the_short_way_no_longer_than_it_is_refused_itself() -> None:
    async with warm_world() as (here, _):
        attempts = here.orchestrator.jobs._attempts
        attempts._quarantine.lock_up(b"another job", time.monotonic())
        assert attempts.wary
        attempts._quarantine.lock_up(b"another job", time.monotonic() - QUARANTINE_SECONDS)

        assert not attempts.wary
