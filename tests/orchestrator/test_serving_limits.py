"""What lasts too long, comes too often, or comes when the server stops, byte by byte."""

import asyncio
import time

import pytest

from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.serving.shared import Limits
from tests.support.raw import Caller, request
from tests.support.served import echo, saying, serving
from tests.support.waiting import until

_LARGE = 16 * 2**20
"""More than what lies between a caller and a server takes."""


@pytest.mark.parametrize("sent", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: o\r\n"])
async def test_a_caller_whose_head_does_not_come_in_time_is_a_408(sent: bytes) -> None:
    async with serving(echo, Limits(head=0.05)) as served, Caller(served.url) as caller:
        caller.say(sent)
        answer = await caller.answer()

        assert (answer.status, answer.code) == (408, "stalled")
        assert await caller.hung_up_on()


async def test_a_head_that_trickles_gets_no_more_time_than_another() -> None:
    async with serving(echo, Limits(head=0.1)) as served, Caller(served.url) as caller:
        caller.say(b"POST / HTTP/1.1\r\nX: ")
        answer = asyncio.create_task(caller.answer())
        began = time.monotonic()
        while not answer.done():
            caller.say(b"x")
            await asyncio.sleep(0.005)

        assert (await answer).status == 408
        assert time.monotonic() - began < 5


async def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    async with serving(echo, Limits(idle=0.2)) as served, Caller(served.url) as caller:
        began = time.monotonic()
        while time.monotonic() - began < 0.3:
            caller.say(request())
            await caller.answer()
            last = time.monotonic()
            await asyncio.sleep(0.01)

        assert await caller.hung_up_on()
        assert time.monotonic() - last > 0.19


async def test_a_request_may_be_served_for_longer_than_any_limit() -> None:
    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.15)
        await echo(exchange)

    async with serving(slowly, Limits(head=0.03, idle=0.03, stall=0.03)) as served, Caller(served.url) as caller:
        caller.say(request("/a", body=b"x"))

        assert (await caller.answer()).body == b"/a 1"


async def test_a_caller_who_takes_nothing_of_its_answer_is_not_written_to_and_hung_up_on() -> None:
    written = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal written
        exchange.start(200, [])
        while True:
            while exchange.write(b"x" * 2**16):
                written += 2**16
            caught_up = asyncio.Event()
            exchange.when_writable(caught_up.set)
            await caught_up.wait()

    async with serving(endless, Limits(stall=0.1)) as served, Caller(served.url) as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        caller.say(request())
        await until(lambda: served.handler.stopped)

    assert written < 2**25


@pytest.mark.parametrize("last", [(), ("Connection: close",)], ids=["kept", "closing"])
async def test_a_caller_who_takes_nothing_of_a_finished_answer_is_hung_up_on(last: tuple[str, ...]) -> None:
    async with serving(saying(b"x" * _LARGE), Limits(idle=0.1, stall=0.1)) as served, Caller(served.url) as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        caller.say(request("/", *last))
        await until(lambda: served.connections == 1)
        await until(lambda: served.connections == 0)


async def test_requests_of_a_caller_who_takes_no_answer_wait_until_it_does() -> None:
    answered = 0

    async def large(exchange: Exchange) -> None:
        nonlocal answered
        answered += 1
        await saying(b"x" * _LARGE)(exchange)

    async with serving(large) as served, Caller(served.url) as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            caller.say(request())
        (member,) = served.server._shared.members
        await until(lambda: not member.writable and member._exchange is None)  # type: ignore[attr-defined]
        for _ in range(10):
            await asyncio.sleep(0)
        first = answered
        caller.writer.transport.resume_reading()  # type: ignore[attr-defined]
        bodies = [len((await caller.answer()).body) for _ in range(10)]

    assert first == 1
    assert bodies == [_LARGE] * 10


async def test_a_caller_who_takes_its_answer_slowly_is_not_hung_up_on() -> None:
    async def in_one_piece(exchange: Exchange) -> None:
        exchange.start(200, [])
        taken = asyncio.Event()
        exchange.write(b"x" * _LARGE)
        exchange.when_writable(taken.set)
        await taken.wait()
        exchange.finish()

    limits = Limits(stall=0.25)
    async with serving(in_one_piece, limits) as served, Caller(served.url) as caller:
        caller.say(request())
        began, size = time.monotonic(), 0
        while size < _LARGE:
            size += len(await caller.reader.readexactly(2**17))
            await asyncio.sleep(0.01)

        assert time.monotonic() - began > 2 * limits.stall
        assert await caller.reader.readuntil(b"\r\n0\r\n\r\n")
        assert not served.handler.stopped


async def test_connections_past_the_limit_are_a_503_at_once_and_the_others_are_served() -> None:
    async with serving(echo, Limits(connections=2)) as served, Caller(served.url) as one, Caller(served.url) as two:
        await until(lambda: served.connections == 2)
        async with Caller(served.url) as three:
            three.say(request())
            refused = await three.answer()
        for caller in (one, two):
            caller.say(request("/a"))
            assert (await caller.answer()).body == b"/a 0"
        await until(lambda: served.connections == 2)
        two.writer.close()
        await until(lambda: served.connections == 1)
        async with Caller(served.url) as three:
            three.say(request("/b"))
            assert (await three.answer()).body == b"/b 0"

    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "connections", "1")


async def test_a_server_that_stops_finishes_answers_and_tells_its_callers_to_go() -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def held(exchange: Exchange) -> None:
        began.set()
        await release.wait()
        await echo(exchange)

    async with serving(held) as served, Caller(served.url) as busy, Caller(served.url) as idle:
        busy.say(request("/busy"))
        await began.wait()
        served.server.wind_down()
        closing = asyncio.create_task(served.server.close())
        assert await idle.hung_up_on()
        release.set()
        answer = await busy.answer()
        await closing

        assert (answer.body, answer.headers["connection"]) == (b"/busy 0", "close")
        with pytest.raises(ConnectionRefusedError):
            await Caller(served.url).__aenter__()


async def test_a_server_that_stops_expects_callers_whom_it_answered_just_now_to_come_again() -> None:
    async with serving(echo, Limits(farewell=0.3)) as served, Caller(served.url) as caller, Caller(served.url):
        assert not served.server.expects
        caller.say(request("/a"))
        await caller.answer()
        served.server.wind_down()
        assert served.server.expects

        caller.say(request("/b"))
        last = await caller.answer()

        assert (last.body, last.headers["connection"]) == (b"/b 0", "close")
        assert await caller.hung_up_on()
        await until(lambda: not served.server.expects)


async def test_a_server_that_stops_waits_for_its_callers_no_longer_than_the_farewell() -> None:
    async with serving(echo, Limits(farewell=0.05)) as served, Caller(served.url) as caller:
        caller.say(request())
        await caller.answer()
        served.server.wind_down()

        await until(lambda: not served.server.expects)
        closing = asyncio.create_task(served.server.close())

        assert await caller.hung_up_on()
        await closing


async def test_a_request_that_waits_for_a_slow_caller_is_answered_though_the_server_stops() -> None:
    served_targets: list[bytes] = []

    async def act(exchange: Exchange) -> None:
        served_targets.append(exchange.target)
        exchange.start(200, [(b"content-length", b"%d" % _LARGE)])
        exchange.finish(bytes(_LARGE))

    async with serving(act, Limits()) as served, Caller(served.url) as caller:
        caller.say(request("/a") + request("/b"))
        await until(lambda: served_targets)
        closing = asyncio.create_task(served.server.close())
        answers = [await caller.answer(), await caller.answer()]
        await closing

    assert [len(answer.body) for answer in answers] == [_LARGE, _LARGE]
