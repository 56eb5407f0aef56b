"""The job path's own HTTP client, against servers that say the very bytes of a test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from stoker_orchestrator.adapters import upstream as module
from stoker_orchestrator.adapters.connection import HELD_BYTES
from stoker_orchestrator.adapters.upstream import Answer, WorkerLostError
from tests.support.byte_workers import OK, Server, ask, saying, upstream
from tests.support.waiting import until


async def test_one_connection_serves_one_job_after_the_other() -> None:
    async with Server().running() as server, upstream() as client:
        answers = [await ask(client, server, b"x" * size) for size in (1, 100_000, 1)]

    assert answers == [b"ok"] * 3
    assert server.accepted == 1
    assert [len(body) for body in server.bodies] == [1, 100_000, 1]
    assert server.heads[0].startswith(b"POST /text-to-image HTTP/1.1\r\nhost: 127.0.0.1:")


async def test_jobs_at_the_same_time_have_a_connection_each() -> None:
    async with Server().running() as server, upstream() as client:
        assert await asyncio.gather(*[ask(client, server) for _ in range(3)]) == [b"ok"] * 3

    assert server.accepted == 3


async def test_a_kept_connection_that_the_worker_has_closed_costs_the_job_nothing() -> None:
    server = Server()

    async def answer_once_and_hang_up_on_the_next(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")

    server.script = answer_once_and_hang_up_on_the_next
    async with server.running(), upstream() as client:
        assert [await ask(client, server) for _ in range(3)] == [b"ok"] * 3

    assert server.accepted == 3


async def test_a_fresh_connection_that_is_hung_up_is_a_lost_worker() -> None:
    async with Server(saying()).running() as server, upstream() as client:
        with pytest.raises(WorkerLostError):
            await ask(client, server)

    assert server.accepted == 1


async def test_a_worker_that_cannot_be_reached_is_lost() -> None:
    async with Server().running() as server:
        address = server.address
    async with upstream() as client:
        with pytest.raises(WorkerLostError, match="could not be reached"):
            await client.post(address, "/text-to-image", b"", b"{}")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["chunked", "continue", "close"],
)
async def test_an_answer_is_read_in_each_of_its_forms_however_it_is_cut(answer: bytes) -> None:
    for size in (1, 7, len(answer)):
        parts = [answer[start : start + size] for start in range(0, len(answer), size)]
        async with Server(saying(*parts)).running() as server, upstream() as client:
            assert await ask(client, server) == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"220 mail.example.org ESMTP\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_whole_or_not_http_is_a_lost_worker(answer: bytes) -> None:
    async with Server(saying(answer)).running() as server, upstream() as client:
        with pytest.raises(WorkerLostError):
            await ask(client, server)


async def test_bytes_that_nobody_asked_for_reach_no_caller() -> None:
    async with Server(saying(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).running() as server, upstream() as client:
        assert await ask(client, server) == b"ok"
        server.script = server.polite
        assert await ask(client, server) == b"ok"

    assert server.accepted == 2


@pytest.mark.parametrize("behind", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x"])
async def test_a_large_answer_is_whole_to_the_byte_and_what_comes_behind_it_reaches_no_caller(behind: bytes) -> None:
    body = bytes(range(251)) * 4_000
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b%b" % (len(body), body, behind)
    server = Server()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.request(reader)
            writer.write(whole)

    server.script = script
    async with server.running(), upstream() as client:
        assert [await ask(client, server) for _ in range(3)] == [body] * 3
    assert server.accepted == (3 if behind else 1)


async def test_a_large_answer_that_ends_early_is_a_lost_worker() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    async with Server(saying(head, b"x" * 500_000, b"x" * 499_999)).running() as server, upstream() as client:
        with pytest.raises(WorkerLostError):
            await ask(client, server)


async def test_a_slow_caller_slows_the_worker_down() -> None:
    size = 64 * 2**20
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    async with Server(saying(head, *[b"x" * 2**16] * (size // 2**16))).running() as server, upstream() as client:
        answer = await client.post(server.address, "/text-to-image", b"", b"{}")
        await until(lambda: not answer.connection._reading)
        held, sent = answer.connection._held, len(await answer.read())
        for _ in range(10):
            await asyncio.sleep(0)
        still_held = answer.connection._held
        total = sent + len(await answer.everything())
        client.release(answer)

    assert HELD_BYTES < held < 4 * HELD_BYTES
    assert still_held < 4 * HELD_BYTES
    assert total == size


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


@pytest.mark.parametrize(("length", "expected"), [(3, b"abc"), (None, b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")])
async def test_a_streamed_body_keeps_its_length_or_is_sent_in_chunks(length: int | None, expected: bytes) -> None:
    async with Server().running() as server, upstream() as client:
        answer = await client.post(server.address, "/image-to-image", b"", lambda: parts(b"a", b"bc"), length)
        assert await answer.everything() == b"ok"
        client.release(answer)
        await ask(client, server)

    assert server.bodies[0] == expected
    assert server.accepted == 1


async def test_an_answer_that_comes_before_the_request_is_whole_is_passed_on_and_the_connection_not_kept() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with Server(refuse).running() as server, upstream() as client:
        answer = await client.post(server.address, "/image-to-image", b"", endless, 100)
        assert (answer.status, await answer.everything()) == (400, b"no")
        client.release(answer)
        server.script = server.polite
        async with asyncio.timeout(5):
            await ask(client, server)

    assert server.accepted == 2


async def test_a_body_that_fails_fails_the_post_with_its_own_error() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        message = "too large"
        raise ValueError(message)

    async with Server().running() as server, upstream() as client:
        with pytest.raises(ValueError, match="too large"):
            await client.post(server.address, "/image-to-image", b"", broken)


async def test_a_cancelled_post_and_an_answer_released_unread_close_the_connection() -> None:
    closed: list[str] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if server.accepted == 2:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        try:
            await reader.read()
        finally:
            closed.append("closed")

    async with Server(hear).running() as server, upstream() as client:
        waiting = asyncio.create_task(client.post(server.address, "/text-to-image", b"", b""))
        await until(lambda: server.accepted == 1)
        waiting.cancel()
        await until(lambda: len(closed) == 1)
        answer: Answer = await client.post(server.address, "/text-to-image", b"", b"")
        client.release(answer)
        await until(lambda: len(closed) == 2)

    assert waiting.cancelled()


@pytest.mark.parametrize("size", [2, HELD_BYTES + 1])
async def test_a_whole_answer_released_unread_leaves_nothing_to_the_next_one_on_its_connection(size: int) -> None:
    server = Server()
    unread = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)

    async def busy_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(unread)
        await server.polite(reader, writer)

    server.script = busy_once
    async with server.running(), upstream() as client:
        answer = await client.post(server.address, "/text-to-image", b"", b"{}")
        await until(lambda: answer.connection.whole)
        client.release(answer)
        async with asyncio.timeout(5):
            assert await ask(client, server) == b"ok"

    assert server.accepted == 1


async def test_connections_that_nobody_uses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_orchestrator.adapters.upstream.KEEP_SECONDS", 0.01)
    async with Server().running() as server, upstream() as client:
        await ask(client, server)
        assert client._idle
        await until(lambda: not client._idle)
        assert await ask(client, server) == b"ok"

    assert server.accepted == 2


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a host that takes no connection and refuses none."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        host, port = full.getsockname()
        yield f"{host}:{port}"


async def test_a_worker_whose_connection_does_not_come_about_is_lost(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.05)
    async with upstream() as client:
        with pytest.raises(WorkerLostError, match="could not be reached") as found:
            await client.post(mute, "/text-to-image", b"", b"{}")

    assert not found.value.sent


async def test_a_post_can_be_cancelled_while_its_connection_comes_about(mute: str) -> None:
    async with upstream() as client:
        post = asyncio.create_task(client.post(mute, "/text-to-image", b"", b"{}"))
        await asyncio.sleep(0)
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(post, 5)
