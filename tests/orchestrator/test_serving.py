"""The orchestrator's own HTTP server, told the very bytes of a caller."""

import asyncio
import hashlib

import pytest

from stoker_orchestrator.app.serving.exchange import Exchange
from tests.support.raw import Caller, request
from tests.support.served import echo, never, saying, serving
from tests.support.waiting import until


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


async def digest(exchange: Exchange) -> None:
    """The hash of the body, as it was fed in."""
    found = hashlib.sha256(b"".join([chunk async for chunk in exchange.body.chunks()])).hexdigest().encode()
    exchange.start(200, [(b"content-length", b"%d" % len(found))])
    exchange.finish(found)


@pytest.mark.parametrize("cut", [65_537, 199_999, 10_000_000])
async def test_large_bodies_sent_together_are_told_apart_to_the_byte(cut: int) -> None:
    bodies = [bytes(range(251)) * (size // 251) + b"z" * (size % 251) for size in (300_000, 1, 2_000_000, 0, 150_000)]
    sent = b"".join(request("/", body=body) for body in bodies)
    async with serving(digest) as served, Caller(served.url) as caller:
        for start in range(0, len(sent), cut):
            caller.say(sent[start : start + cut])
            await asyncio.sleep(0)
        answers = [(await caller.answer()).body.decode() for _ in bodies]

    assert answers == [hashlib.sha256(body).hexdigest() for body in bodies]


async def test_an_answer_that_does_not_wait_for_a_large_body_closes_and_what_still_comes_is_no_request() -> None:
    async with serving(saying(b"no")) as served, Caller(served.url) as caller:
        caller.say(b"POST /a HTTP/1.1\r\nHost: o\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
        answer = await caller.answer()
        caller.say(b"x" * 200_000 + request("/b"))

        assert (answer.body, answer.headers["connection"]) == (b"no", "close")
        assert await caller.hung_up_on()


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
