"""What a stranger may leave open, on real connections to a small application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from stoker_worker.app import connections
from stoker_worker.app.connections import MAX_HEAD_BYTES, BoundedConnection
from tests.support.ports import free_port
from tests.support.waiting import until

LARGE = 20_000_000
GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers with its length, or with a lot, or before it has read anything."""
    size, more = 0, scope["path"] != "/early"
    while more:
        part = await receive()
        size, more = size + len(part.get("body", b"")), part.get("more_body", False)
    body = bytes(LARGE) if scope["path"] == "/large" else b"%d" % size
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[bytes, bytes]:
        """First line and body of the next answer."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head.split(b"\r\n")[0], await self._reader.readexactly(length)

    async def read(self, most: int) -> bytes:
        return await asyncio.wait_for(self._reader.read(most), 10)

    async def rest(self) -> bytes:
        """What comes until the other side closes, or breaks off."""
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := await self.read(2**16):
                parts.append(part)
        return b"".join(parts)

    async def is_closed(self) -> bool:
        """Wait until it is; how much came before does not matter."""
        await self.rest()
        return True


_SERVERS: list[uvicorn.Server] = []


def _connection() -> BoundedConnection:
    """The server's side of the only one."""
    (one,) = _SERVERS[-1].server_state.connections
    assert isinstance(one, BoundedConnection)
    return one


@asynccontextmanager
async def server() -> AsyncIterator[int]:
    port = free_port()
    config = uvicorn.Config(application, "127.0.0.1", port, http=BoundedConnection, log_level="critical", lifespan="off", ws="none")
    _SERVERS[:] = [running := uvicorn.Server(config)]
    with contextlib.ExitStack() as signals:
        running.capture_signals = signals  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(running._serve())
        while not running.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        try:
            yield port
        finally:
            running.should_exit = running.force_exit = True
            await serving


@asynccontextmanager
async def caller(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_requests_after_each_other_are_answered_on_one_connection() -> None:
    async with server() as port, caller(port) as one:
        for size in (0, 5, 300_000):
            one.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            assert await one.answer() == (b"HTTP/1.1 200 OK", b"%d" % size)


@pytest.mark.parametrize("line", [b"A: b\r\n", b"x" * 70])
async def test_a_head_without_an_end_is_refused_in_json(line: bytes) -> None:
    async with server() as port, caller(port) as one:
        one.send(GET % b"" + line * (MAX_HEAD_BYTES // len(line)))
        status, body = await one.answer()

        assert status == b"HTTP/1.1 400 Bad Request"
        assert str(MAX_HEAD_BYTES) in orjson.loads(body)["detail"]["msg"]
        assert await one.is_closed()


async def test_a_body_may_be_larger_than_a_head() -> None:
    async with server() as port, caller(port) as one:
        one.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (3 * MAX_HEAD_BYTES))
        for _ in range(3):
            one.send(bytes(MAX_HEAD_BYTES))

        assert (await one.answer())[1] == b"%d" % (3 * MAX_HEAD_BYTES)


async def test_a_body_goes_on_for_some_time_after_its_answer_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_REST_BYTES", 2**20)
    async with server() as port, caller(port) as one:
        for _ in range(3):
            one.send(b"POST /early HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2**19))
            assert (await one.answer())[0] == b"HTTP/1.1 200 OK"
            one.send(bytes(2**19))
        one.send(b"POST /early HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2**40))
        await one.answer()
        one.send(bytes(2**21))

        assert await one.is_closed()


async def test_what_is_no_http_is_refused_in_json() -> None:
    async with server() as port, caller(port) as one:
        one.send(b"\x16\x03\x01 nonsense\r\n\r\n")
        _, body = await one.answer()

        assert orjson.loads(body)["error"]["type"] == "invalid_request"
        assert await one.is_closed()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", GET % b"" + b"A: b\r\n"])
async def test_a_head_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    async with server() as port, caller(port) as one:
        one.send(begun)

        assert await one.is_closed()


async def test_a_later_head_that_does_not_come_is_given_up_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as port, caller(port) as one:
        one.send(GET % b"" + b"\r\n")
        await one.answer()
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
        one.send(b"GET / HT")

        assert await one.is_closed()


@pytest.mark.parametrize(
    ("declared", "after"),
    [
        pytest.param(0, b"\r\n", id="an empty line"),
        pytest.param(5000, b"x", id="a part of a body"),
        pytest.param(5, b"xxxxx", id="a whole body"),
    ],
)
async def test_bytes_that_follow_an_answer_do_not_keep_the_connection(
    monkeypatch: pytest.MonkeyPatch, declared: int, after: bytes
) -> None:
    async with server() as port, caller(port) as one:
        one.send(b"POST /early HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % declared)
        await one.answer()
        monkeypatch.setattr(_connection(), "timeout_keep_alive", 0.1)
        one.send(after)

        assert await one.is_closed()


async def test_the_next_request_may_follow_bytes_that_follow_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as port, caller(port) as one:
        one.send(b"POST /early HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
        await one.answer()
        monkeypatch.setattr(_connection(), "timeout_keep_alive", 3600)
        one.send(b"xxxxx")
        await until(lambda: _connection()._head_ends is not None)
        one.send(GET % b"" + b"\r\n")

        assert (await one.answer())[0] == b"HTTP/1.1 200 OK"
        assert _connection()._head_ends is None


async def test_nothing_waits_for_a_head_while_a_body_comes_and_between_requests() -> None:
    async with server() as port, caller(port) as one:
        for _ in range(2):
            one.send(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
            await until(lambda: _connection().cycle is not None and _connection()._head_ends is None)
            one.send(b"b")
            assert (await one.answer())[1] == b"2"
            assert _connection()._head_ends is None


async def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.2)
    async with server() as port, caller(port) as one:
        one.send(GET % b"large" + b"\r\n")
        assert await one.read(1) == b"H"
        await asyncio.sleep(0.5)

        assert len(await one.rest()) < LARGE


async def test_nothing_waits_for_an_answer_that_was_taken() -> None:
    async with server() as port, caller(port) as one:
        one.send(GET % b"large" + b"\r\n")
        await until(lambda: _connection()._answer_ends is not None)
        _, body = await one.answer()

        assert len(body) == LARGE
        await until(lambda: _connection()._answer_ends is None)
