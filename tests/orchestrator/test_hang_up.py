"""Callers who hang up: in line, while the worker thinks, while the answer is under way, while they send."""

import asyncio
from typing import Any

from aiohttp import web

from tests.support.orchestrator import JOB, World, world
from tests.support.waiting import until
from tests.support.workers import echo


async def caller_who_hangs_up(here: World, when: asyncio.Event) -> None:
    """A request whose caller closes the connection once `when` is set."""
    messages = [{"type": "http.request", "body": b'{"prompt":"p","model_id":"org/m"}', "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await when.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        """Nobody listens."""

    scope = {"type": "http", "method": "POST", "path": "/text-to-image", "headers": []}
    await here.app(scope, receive, send)


async def test_a_caller_who_hangs_up_leaves_the_line_and_the_model_is_woken_all_the_same() -> None:
    async with world() as here:
        gone = asyncio.Event()
        call = asyncio.create_task(caller_who_hangs_up(here, gone))
        await until(lambda: here.waiting == 1)
        gone.set()
        await call

        assert here.waiting == 0
        assert here.fleet.scaled == [("m", 1)]


async def test_a_caller_who_hangs_up_cancels_the_job_on_its_worker_and_frees_the_slot() -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with world() as here:
        worker = await here.worker("w", long)
        gone = asyncio.Event()
        call = asyncio.create_task(caller_who_hangs_up(here, gone))
        await until(lambda: worker.requests)
        gone.set()
        await call
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
        gone = asyncio.Event()
        call = asyncio.create_task(caller_who_hangs_up(here, gone))
        await until(lambda: worker.requests)
        gone.set()
        await call
        await until(lambda: worker.cancelled)

        assert here.orchestrator.jobs.in_flight == 0


async def test_a_caller_who_hangs_up_while_it_sends_leaves_nothing_behind() -> None:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"x" * 300_000, "more_body": True}]
    gone = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        """Nobody listens."""

    async with world() as here:
        worker = await here.worker("w")
        scope = {"type": "http", "method": "POST", "path": "/models/m/text-to-image", "headers": []}
        call = asyncio.ensure_future(here.app(scope, receive, send))
        await until(lambda: any(endpoint.in_flight for endpoint in here.orchestrator.broker.registry.endpoints))
        gone.set()
        await call

        assert worker.requests == []
        assert here.orchestrator.jobs._budget.used == 0
        assert (await here.post(json=JOB)).status_code == 200
