"""The orchestrator's own HTTP server, told the very bytes of a caller."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.body import BrokenBodyError, Budget
from stoker_orchestrator.app.replies import send_refusal
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.serving.server import Server
from stoker_orchestrator.app.serving.shared import Limits
from stoker_orchestrator.domain.admission import Refusal
from tests.support.raw import Caller, request
from tests.support.waiting import until

Behaviour = Callable[[Exchange], Awaitable[None]]


class Handler:
    """Answers as a test says; remembers what was stopped from outside."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.stopped: list[Exception] = []

    def begin(self, exchange: Exchange) -> None:
        exchange.spawn(self._handle(exchange))

    async def _handle(self, exchange: Exchange) -> None:
        try:
            await self.behaviour(exchange)
        except BrokenBodyError as error:
            self._stopped(exchange, error)
        except asyncio.CancelledError as cancellation:
            self._stopped(exchange, exchange.ended_by(cancellation))

    def _stopped(self, exchange: Exchange, error: Exception) -> None:
        self.stopped.append(error)
        if not exchange.started:
            self.refuse(exchange, Refusal(408, ErrorType.INVALID_REQUEST, "stopped"))

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        send_refusal(exchange, refusal, [])


class Served:
    """A server of one handler."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.handler = handler
        self.budget = Budget(2**28)
        self.server = Server(handler, limits, self.budget)
        self.url = ""

    @property
    def connections(self) -> int:
        return len(self.server._shared.members)


@asynccontextmanager
async def serving(behaviour: Behaviour, limits: Limits | None = None) -> AsyncIterator[Served]:
    served = Served(Handler(behaviour), limits or Limits())
    served.url = f"http://127.0.0.1:{await served.server.listen('127.0.0.1', 0)}"
    try:
        yield served
    finally:
        for member in list(served.server._shared.members):
            member.abort()
        await served.server.close()


async def echo(exchange: Exchange) -> None:
    """The target, and the length of the body."""
    exchange.proceed()
    await exchange.body.finished()
    answer = b"%b %d" % (exchange.target, exchange.body.size)
    exchange.start(200, [(b"content-length", b"%d" % len(answer))])
    exchange.finish(answer)


async def never(_: Exchange) -> None:
    await asyncio.Event().wait()


def saying(*parts: bytes, sized: bool = True) -> Behaviour:
    """An answer of `parts`, one write each."""

    async def behaviour(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-length", b"%d" % sum(map(len, parts)))] if sized else [])
        for part in parts:
            exchange.write(part)
            await asyncio.sleep(0)
        exchange.finish()

    return behaviour


@pytest.mark.parametrize("sized", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("parts", [(), (b"short",), (b"a", b"", b"c"), (b"a", b"x" * 100_000, b"c"), (b"x" * 3_000_000,)])
async def test_answers_of_every_size_arrive_whole_on_one_connection(parts: tuple[bytes, ...], *, sized: bool) -> None:
    async with serving(saying(*parts, sized=sized)) as served, Caller(served.url) as caller:
        for _ in range(3):
            caller.say(request())
            answer = await caller.answer()
            assert answer.body == b"".join(parts)
            assert answer.headers["date"].endswith("GMT")
        assert served.connections == 1


async def test_a_request_is_understood_however_it_is_cut() -> None:
    whole = request("/a", body=b"0123456789")
    async with serving(echo) as served, Caller(served.url) as caller:
        for size in (1, 7, len(whole)):
            for start in range(0, len(whole), size):
                caller.say(whole[start : start + size])
                await asyncio.sleep(0)
            assert (await caller.answer()).body == b"/a 10"


async def test_requests_sent_together_are_answered_one_after_the_other() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(b"".join(request(f"/{number}", body=b"x" * number) for number in range(10)))
        answers = [(await caller.answer()).body for _ in range(10)]
        caller.say(request("/a", body=b"x") + request("/b", body=b"x" * 300_000))
        answers += [(await caller.answer()).body for _ in range(2)]

    assert answers == [b"/%d %d" % (number, number) for number in range(10)] + [b"/a 1", b"/b 300000"]


async def test_a_caller_who_sends_too_many_requests_together_is_told_and_hung_up_on() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(b"".join(request(f"/{number}") for number in range(40)))
        answers = [await caller.answer() for _ in range(17)]

        assert await caller.hung_up_on()
    assert [answer.status for answer in answers] == [200] * 16 + [400]


async def test_a_chunked_body_is_taken_and_its_trailers_change_nothing() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(b"POST /a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nX-More: 1\r\n\r\n")
        assert (await caller.answer()).body == b"/a 4"
        caller.say(request("/b"))
        assert (await caller.answer()).body == b"/b 0"


async def test_callers_of_http_1_0_are_closed_unless_they_ask_to_be_kept() -> None:
    async with serving(saying(b"here", sized=False)) as served:
        async with Caller(served.url) as caller:
            caller.say(b"GET / HTTP/1.0\r\n\r\n")
            answer = await caller.answer()
        async with Caller(served.url) as kept:
            served.handler.behaviour = saying(b"here")
            for _ in range(2):
                kept.say(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert (await kept.answer()).headers["connection"] == "keep-alive"

    assert answer.body == b"here"
    assert "transfer-encoding" not in answer.headers


async def test_a_head_is_answered_without_a_body() -> None:
    async with serving(saying(b"body")) as served, Caller(served.url) as caller:
        caller.say(request(method="HEAD"))
        answer = await caller.answer(head_only=True)
        caller.say(request())

        assert (answer.headers["content-length"], (await caller.answer()).body) == ("4", b"body")


async def test_a_caller_who_wants_to_close_gets_its_answer_first() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(request("/a", "Connection: close"))

        assert (await caller.answer()).headers["connection"] == "close"
        assert await caller.hung_up_on()


async def test_a_caller_who_asks_before_it_sends_its_body_is_told_to_go_on() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(request("/a", "Expect: 100-continue", length=3))
        first = await caller.answer(head_only=True)
        caller.say(b"abc")

        assert (first.status, (await caller.answer()).body) == (100, b"/a 3")


async def test_an_answer_that_does_not_wait_for_the_body_reaches_its_caller_and_closes() -> None:
    async with serving(saying(b"no")) as served, Caller(served.url) as caller:
        caller.say(request("/a", length=300 * 2**20))
        answer = await caller.answer()
        for _ in range(64):
            caller.say(b"x" * 2**20)
            await caller.writer.drain()

        assert (answer.body, answer.headers["connection"]) == (b"no", "close")
        assert served.budget.used == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HELO o\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: o\r\n folded: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: o\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: o\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: o\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nHost: o\r\nX: " + b"x" * 70_000, 431),
        (b"GET /" + b"x" * 200_000, 431),
        (b"GET / HTTP/1.1\r\nHost: o\r\n" + b"".join(b"X-%d: x\r\n" % number for number in range(200)) + b"\r\n", 431),
    ],
)
async def test_what_is_no_request_is_refused_in_words_and_hung_up_on(sent: bytes, status: int) -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(sent)
        answer = await caller.answer()

        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.code
        assert await caller.hung_up_on()


async def test_what_follows_a_good_request_and_is_none_takes_nothing_from_its_answer() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(request("/a") + b"junk\r\n\r\n")

        assert [(await caller.answer()).status for _ in range(2)] == [200, 400]


async def test_an_upgrade_that_is_asked_for_is_left_out_and_the_request_served() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(b"GET /a HTTP/1.1\r\nHost: o\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + request("/b"))

        assert [(await caller.answer()).body for _ in range(2)] == [b"/a 0", b"/b 0"]


async def test_a_body_with_broken_chunks_stops_whoever_serves_it() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(b"POST /a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: served.connections)
        caller.say(b"zz\r\n")

        assert (await caller.answer()).status == 408
    assert [type(error).__name__ for error in served.handler.stopped] == ["BrokenBodyError"]


async def test_trailers_without_end_are_not_kept() -> None:
    async with serving(echo) as served, Caller(served.url) as caller:
        caller.say(b"POST /a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        caller.say(b"X-More: 1\r\n" * 20_000)

        assert (await caller.answer()).status == 408


async def test_a_request_that_fails_in_a_way_not_foreseen_is_a_500_and_the_next_one_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_: Exchange) -> None:
        message = "a secret"
        raise ValueError(message)

    async with serving(broken) as served, Caller(served.url) as caller:
        caller.say(request())
        answer = await caller.answer()
        served.handler.behaviour = echo
        caller.say(request("/a"))

        assert (answer.status, answer.code) == (500, "internal")
        assert b"secret" not in answer.body
        assert (await caller.answer()).body == b"/a 0"
    assert "a secret" in caplog.text


async def test_an_answer_that_is_not_finished_is_broken_off() -> None:
    async def half(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-length", b"10")])
        exchange.write(b"half")

    async with serving(half) as served, Caller(served.url) as caller:
        caller.say(request())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()


async def test_a_caller_who_hangs_up_stops_whoever_serves_it() -> None:
    async with serving(never) as served:
        async with Caller(served.url) as caller:
            caller.say(request("/a") + request("/b", body=b"waits"))
            await until(lambda: served.budget.used == 5)
        await until(lambda: served.handler.stopped and served.budget.used == 0)

    assert [type(error).__name__ for error in served.handler.stopped] == ["CallerGoneError"]


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
        with pytest.raises(OSError, match="Connect call failed"):
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
