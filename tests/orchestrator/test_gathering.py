"""The orchestrator's own HTTP protocol over a real connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvicorn

from stoker_orchestrator.app.asgi import App, Receive, Scope, Send
from stoker_orchestrator.app.gathering import GatheringProtocol, GatheringTransport
from tests.support.waiting import until


def saying(*parts: bytes) -> App:
    """An application that answers with `parts`, one message each."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        length = sum(map(len, parts))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % length)]})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


@asynccontextmanager
async def connected(app: App, keep_alive: float = 5) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of `app` that closes idle ones after `keep_alive` seconds."""
    config = uvicorn.Config(app, "127.0.0.1", 0, http=GatheringProtocol, lifespan="off", ws="none", log_level="critical")
    config.timeout_keep_alive = cast("int", keep_alive)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: bytes = b"", path: bytes = b"/") -> bytes:
    writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (path, more))
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


@pytest.mark.parametrize("parts", [(b"short",), (b"a", b"b", b"c"), (b"a", b"x" * 100_000, b"c"), (b"x" * 3_000_000,)])
async def test_parts_of_every_size_arrive_in_their_order(parts: tuple[bytes, ...]) -> None:
    async with connected(saying(*parts)) as (reader, writer):
        for _ in range(3):
            assert await ask(reader, writer) == b"".join(parts)


async def test_a_connection_that_is_closed_behind_the_answer_gives_the_whole_answer() -> None:
    async with connected(saying(b"last", b"words")) as (reader, writer):
        assert await ask(reader, writer, b"connection: close\r\n") == b"lastwords"
        assert await reader.read() == b""


async def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    async with connected(saying(b"here"), keep_alive=0.2) as (reader, writer):
        began = loop.time()
        while loop.time() - began < 0.3:
            assert await ask(reader, writer) == b"here"
            last = loop.time()
            await asyncio.sleep(0.01)

        assert await reader.read() == b""
        assert loop.time() - last > 0.19


async def test_a_request_that_is_served_for_longer_than_idle_connections_are_kept_is_answered() -> None:
    async def slowly(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.15 if scope["path"] == "/slow" else 0)
        await saying(b"here")(scope, receive, send)

    async with connected(slowly, keep_alive=0.05) as (reader, writer):
        assert await ask(reader, writer) == b"here"
        assert await ask(reader, writer, path=b"/slow") == b"here"
        assert await reader.read() == b""


async def test_a_request_whose_head_comes_slowly_finds_its_connection_open() -> None:
    async with connected(saying(b"here"), keep_alive=0.05) as (reader, writer):
        assert await ask(reader, writer) == b"here"
        writer.write(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.15)
        writer.write(b"\r\n")

        assert await reader.readuntil(b"here")
        assert await reader.read() == b""


async def test_the_writes_of_one_moment_are_one_write() -> None:
    written: list[bytes] = []

    class Transport(asyncio.Transport):
        closing = False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

        def is_closing(self) -> bool:
            return self.closing

    inner = Transport()
    transport = GatheringTransport(inner)
    transport.write(b"head")
    transport.write(b"body")
    await until(lambda: written)
    transport.write(b"lost with its connection")
    inner.closing = True
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert written == [b"headbody"]
