"""HTTP workers that do what a test says, on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeWorker:
    """Remembers what it was sent; answers as scripted."""

    def __init__(self, behaviour: Behaviour | None = None, *, deaf: bool = False, ready_status: int = 200) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.behaviour = behaviour or echo
        self.cancelled = 0
        self.probes = 0
        self.deaf = deaf
        self.ready_status = ready_status
        self.says: dict[str, Any] = {}
        """What it says of itself, by path."""
        self.asked: list[tuple[str, str | None]] = []
        """The paths of that which somebody wanted to know, each with the key that was shown."""
        self.address = ""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.path, dict(request.headers), body))
        try:
            return await self.behaviour(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def _ready(self, _: web.Request) -> web.StreamResponse:
        self.probes += 1
        if self.deaf:
            await asyncio.Event().wait()
        if self.ready_status != web.HTTPOk.status_code:
            return web.Response(status=self.ready_status)
        return web.json_response({"ready": True, "state": "ready", "in_flight": 0, "capacity": 1})

    async def _say(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("Authorization")))
        said = self.says.get(request.path)
        return said() if callable(said) else web.json_response(said, status=404 if said is None else 200)

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["FakeWorker"]:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/{route}", self._handle)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/version", self._say)
        app.router.add_get("/hardware/info", self._say)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        self.address = "{}:{}".format(*runner.addresses[0][:2])
        try:
            yield self
        finally:
            await runner.cleanup()


async def echo(request: web.Request) -> web.StreamResponse:
    """The length of what was sent."""
    return web.json_response({"images": [], "length": len(await request.read())})


async def die(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError


async def die_midway(request: web.Request) -> web.StreamResponse:
    """Begin to answer, then close the connection."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"x" * 10)
    return await die(request)


async def loading(_: web.Request) -> web.StreamResponse:
    """What a worker says that has no model yet."""
    body = {"detail": {"msg": "worker is loading"}, "error": {"message": "worker is loading", "code": "model_unavailable"}}
    return web.json_response(body, status=500)


async def draining(_: web.Request) -> web.StreamResponse:
    """What a worker says that takes nothing new."""
    body = {"detail": {"msg": "worker is draining"}, "error": {"message": "worker is draining", "code": "worker_draining"}}
    return web.json_response(body, status=500)


class FullAtFirst:
    """A worker that has another's jobs the first times it is asked, then takes what comes."""

    def __init__(self, times: int) -> None:
        self._left = times

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self._left -= 1
        if self._left < 0:
            return await echo(request)
        body = {"detail": {"msg": "worker is full"}, "error": {"message": "worker is full", "code": "worker_full"}}
        return web.json_response(body, status=500)
