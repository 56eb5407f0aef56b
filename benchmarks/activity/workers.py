"""Workers that take as long as a job declares: they run in the benchmark's own event loop and remember what they did."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web


@dataclass(slots=True)
class Worker:
    """One worker: `capacity` jobs at a time, more wait in its own line. A job says in `seconds` how long it takes."""

    capacity: int
    address: str = ""
    order: list[int] = field(default_factory=list)
    """The numbers of the jobs, as they came."""
    now: int = 0
    most: int = 0
    """Jobs that were there at a time, those that wait included."""
    done: list[float] = field(default_factory=list)
    """When jobs were finished."""
    _slots: asyncio.Semaphore | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Run one job."""
        job = orjson.loads(await request.read())
        self.order.append(job["number"])
        self.now += 1
        self.most = max(self.most, self.now)
        assert self._slots is not None
        try:
            async with self._slots:
                await asyncio.sleep(job["seconds"])
        finally:
            self.now -= 1
        self.done.append(time.monotonic())
        return web.Response(body=b'{"images":[]}', content_type="application/json")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Worker"]:
        """Listen on loopback."""
        self._slots = asyncio.Semaphore(self.capacity)
        app = web.Application()
        app.router.add_post("/text-to-image", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self.address = "{}:{}".format(*runner.addresses[0][:2])
        try:
            yield self
        finally:
            await runner.cleanup()


@asynccontextmanager
async def workers(count: int, capacity: int) -> AsyncIterator[list[Worker]]:
    """Several of them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Worker(capacity).running()) for _ in range(count)]
