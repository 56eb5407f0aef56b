"""Callers who hang up: in line, while the worker thinks, while the answer is under way, while they send."""

import asyncio

from aiohttp import web

from tests.support.orchestrator import JOB, world
from tests.support.raw import Caller, request
from tests.support.waiting import until
from tests.support.workers import echo

REQUEST = request(body=b'{"prompt":"p","model_id":"org/m"}')


async def test_a_caller_who_hangs_up_leaves_the_line_and_the_model_is_woken_all_the_same() -> None:
    async with world() as here:
        async with Caller(here.url) as caller:
            caller.say(REQUEST)
            await until(lambda: here.waiting == 1)
        await until(lambda: here.waiting == 0)

        assert here.fleet.scaled == [("m", 1)]


async def test_a_caller_who_hangs_up_cancels_the_job_on_its_worker_and_frees_the_slot() -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with world() as here:
        worker = await here.worker("w", long)
        async with Caller(here.url) as caller:
            caller.say(REQUEST)
            await until(lambda: worker.requests)
        await until(lambda: worker.cancelled)
        worker.behaviour = echo

        assert (await here.post(json=JOB)).status_code == 200


async def test_a_caller_who_hangs_up_in_the_middle_of_the_answer_cancels_the_job() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 1000)
            await asyncio.sleep(0.001)

    async with world() as here:
        worker = await here.worker("w", endless)
        async with Caller(here.url) as caller:
            caller.say(REQUEST)
            await until(lambda: worker.requests)
        await until(lambda: worker.cancelled)
        await until(lambda: here.orchestrator.jobs.in_flight == 0)


async def test_a_caller_who_hangs_up_while_it_sends_leaves_nothing_behind() -> None:
    async with world() as here:
        worker = await here.worker("w")
        async with Caller(here.url) as caller:
            caller.say(request("/models/m/text-to-image", body=b"x" * 300_000, length=400_000))
            await until(lambda: any(endpoint.in_flight for endpoint in here.orchestrator.broker.registry.endpoints))
        await until(lambda: here.orchestrator.jobs.in_flight == 0)

        assert worker.requests == []
        assert here.orchestrator.budget.used == 0
        assert (await here.post(json=JOB)).status_code == 200
