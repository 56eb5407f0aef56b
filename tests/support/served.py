"""An ASGI application on a port of loopback, as a process would serve it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from tests.support.waiting import until


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The URL under which `app` is reached."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, lifespan="off", ws="none", log_level="critical"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
    finally:
        server.should_exit = True
        await serving
