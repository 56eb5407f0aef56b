"""What a worker is told of its caller's time, over real HTTP on loopback."""

import asyncio

import pytest
from aiohttp import web

from tests.support.orchestrator import JOB, code, world
from tests.support.waiting import until
from tests.support.workers import FakeWorker, FullAtFirst, die, echo

LATE = {"detail": {"msg": "the caller's time is over"}, "error": {"message": "…", "type": "deadline_exceeded"}}


class Held:
    """A worker that answers when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        await self.may.wait()
        return await echo(request)


def told(worker: FakeWorker, nth: int = -1) -> float:
    """The seconds that a worker was told; each answer of this is one that a worker takes for a time."""
    given = worker.requests[nth][1]["Stoker-Timeout"]
    whole, _, thousandths = given.partition(".")
    assert whole.isdigit()
    assert thousandths.isdigit()
    assert float(given) > 0
    return float(given)


@pytest.mark.parametrize("given", ["30", "29.9999", "3e1"])
async def test_a_worker_is_told_how_much_of_its_callers_time_is_left_and_never_more(given: str) -> None:
    async with world() as here:
        worker = await here.worker("w")
        assert (await here.post(json=JOB, headers={"Stoker-Timeout": given})).status_code == 200

    assert float(given) - 5 < told(worker) <= float(given)


async def test_a_worker_is_told_of_no_time_where_the_caller_gives_none() -> None:
    async with world() as here:
        worker = await here.worker("w")
        for _ in range(2):
            await here.post(json=JOB)
        await here.post(path="/models/m/text-to-image", json=JOB)

    assert [head for _, head, _ in worker.requests if "Stoker-Timeout" in head] == []
    assert len(worker.requests) == 3


async def test_the_time_in_line_is_taken_off_what_a_worker_is_told() -> None:
    held = Held()
    async with world() as here:
        worker = await here.worker("w", held)
        jobs = [asyncio.create_task(here.post(json=JOB | {"seed": seed}, headers={"Stoker-Timeout": "20"})) for seed in range(2)]
        await until(lambda: here.aged(0.2))
        held.may.set()
        await asyncio.gather(*jobs)

    assert told(worker) <= 19.8 < told(worker, 0) <= 20


async def test_the_time_in_which_a_cold_model_starts_is_not_taken_off() -> None:
    async with world() as here:
        job = asyncio.create_task(here.post(json=JOB, headers={"Stoker-Timeout": "20"}))
        await until(lambda: here.aged(1))
        worker = await here.worker("w")
        await job

    assert 19 < told(worker) <= 20


async def test_a_second_worker_is_told_what_is_left_by_then() -> None:
    async with world() as here:
        held = Held()

        async def dies_later(request: web.Request) -> web.StreamResponse:
            await held.may.wait()
            return await die(request)

        first = await here.worker("first", dies_later)
        job = asyncio.create_task(here.post(json=JOB, headers={"Stoker-Timeout": "20"}))
        await until(lambda: first.requests)
        second = await here.worker("second")
        held.may.set()
        assert (await job).headers["stoker-worker"] == "second"

    assert told(second) < told(first)


async def test_a_worker_that_was_full_is_told_less_when_it_is_asked_again() -> None:
    async with world() as here:
        worker = await here.worker("w", FullAtFirst(1))
        assert (await here.post(json=JOB, headers={"Stoker-Timeout": "20"})).status_code == 200

    assert told(worker, 1) < told(worker, 0)


async def test_a_job_whose_time_is_as_good_as_over_is_a_504_and_no_worker_sees_it() -> None:
    async with world() as here:
        worker = await here.worker("w")
        answer = await here.post(json=JOB, headers={"Stoker-Timeout": "0.0009"})
        after = await here.post(json=JOB)

    assert code(answer) == (504, "deadline_exceeded")
    assert after.status_code == 200
    assert len(worker.requests) == 1


async def test_a_worker_that_finds_the_time_over_first_is_a_504_and_no_lost_worker() -> None:
    async def late(_: web.Request) -> web.StreamResponse:
        return web.json_response(LATE, status=500)

    async with world() as here:
        worker = await here.worker("w", late)
        answer = await here.post(json=JOB, headers={"Stoker-Timeout": "20"})
        worker.behaviour = echo
        after = await here.post(json=JOB)
        retries = here.metric("stoker_job_retries_total", model="m")

    assert code(answer) == (504, "deadline_exceeded")
    assert "20 s" in answer.json()["error"]["message"]
    assert (after.status_code, retries) == (200, 0)
    assert len(worker.requests) == 2


async def test_what_a_worker_says_of_a_time_that_nobody_gave_is_passed_on_as_it_is() -> None:
    async def late(_: web.Request) -> web.StreamResponse:
        return web.json_response(LATE, status=500)

    async with world() as here:
        await here.worker("w", late)
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.json()) == (500, LATE)
