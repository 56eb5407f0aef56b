"""Who may speak on the port of orchestrators, and what becomes of those who speak otherwise."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stoker_orchestrator.app.peers.messages import (
    LANGUAGE,
    Asked,
    Beat,
    Denied,
    Given,
    Held,
    Hello,
    Left,
    Loaded,
    Message,
    Returned,
    Unwelcome,
    Welcome,
    decode,
    encode,
)
from stoker_orchestrator.app.peers.wire import Wire
from stoker_orchestrator.domain.election import Candidate
from stoker_orchestrator.domain.load import Crowd, EndpointLoad, Load
from stoker_orchestrator.domain.model import Leaving
from tests.support.peers import Company, company
from tests.support.waiting import until


@dataclass
class Stranger:
    """Somebody who has connected to the leader."""

    wire: Wire
    heard: list[Message] = field(default_factory=list)


async def stranger(them: Company) -> Stranger:
    host, port = me(them).address.split(":")
    _, wire = await asyncio.get_running_loop().create_connection(Wire, host, int(port))
    made = Stranger(wire)
    wire.hear = made.heard.append
    return made


def me(them: Company) -> Candidate:
    return them.leader.peers._election.me


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token": "guessed"}, "token"),
        ({"token": "geraten-\u00e4"}, "token"),
        ({"language": LANGUAGE + 1}, "language"),
        ({"holder": "o-0/an-earlier-one"}, "another_process"),
    ],
)
async def test_who_shows_no_token_or_looks_for_another_is_hung_up_on(change: dict[str, Any], reason: str) -> None:
    async with company(1) as them:
        other = await stranger(them)
        hello = Hello(LANGUAGE, me(them).identity, me(them).token, "x/1")._replace(**change)
        other.wire.send(hello)
        await other.wire.ended
        assert other.heard == [Unwelcome(me(them).identity, reason)]


async def test_a_follower_takes_nobodys_jobs() -> None:
    async with company(2) as them:
        follower = them.followers[0].peers._election.me
        host, port = follower.address.split(":")
        _, wire = await asyncio.get_running_loop().create_connection(Wire, host, int(port))
        heard: list[Message] = []
        wire.hear = heard.append
        wire.send(Hello(LANGUAGE, follower.identity, follower.token, "x/1"))
        await wire.ended
        assert heard == [Unwelcome(follower.identity, "not_leading")]


async def test_a_follower_that_comes_while_the_leader_ends_is_hung_up_on() -> None:
    async with company(1) as them:
        them.leader.peers._followers.close()
        late = await stranger(them)
        late.wire.send(Hello(LANGUAGE, me(them).identity, me(them).token, "x/1"))
        await late.wire.ended
        assert late.heard == []


async def test_who_asks_before_a_hello_is_hung_up_on() -> None:
    async with company(1) as them:
        await them.worker("w")
        other = await stranger(them)
        other.wire.send(Asked(1, "m", 1.0, "", None, 0.0, []))
        await other.wire.ended
        assert other.heard == []
        assert them.leader.in_flight() == 0


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"{}\n", b"[]\n", b'["Asked", 1]\n', b"\xff\xfe\n", b"[" * 10000 + b"\n"])
async def test_who_speaks_another_language_is_hung_up_on(line: bytes) -> None:
    async with company(1) as them:
        other = await stranger(them)
        assert other.wire._transport is not None
        other.wire._transport.write(line)
        await other.wire.ended
        assert them.leader.leading


async def test_a_message_without_an_end_is_hung_up_on() -> None:
    async with company(1) as them:
        other = await stranger(them)
        assert other.wire._transport is not None
        other.wire._transport.write(b"x" * (9 * 2**20))
        await other.wire.ended
        assert them.leader.leading


async def test_words_of_a_newer_program_are_passed_over() -> None:
    async with company(1) as them:
        await them.worker("w")
        other = await stranger(them)
        assert other.wire._transport is not None
        other.wire.send(Hello(LANGUAGE, me(them).identity, me(them).token, "x/1"))
        await until(lambda: Welcome() in other.heard)
        other.wire._transport.write(b'["Sing", "a song"]\n["Asked", 7, "m", 1.0, "", null, 0.0, [], false, "and more"]\n')
        await until(lambda: any(isinstance(each, Given) and each.number == 7 for each in other.heard))


async def test_a_job_that_leaves_as_its_slot_comes_gives_it_back() -> None:
    async with company(1) as them:
        await them.worker("w")
        other = await stranger(them)
        other.wire.send(Hello(LANGUAGE, me(them).identity, me(them).token, "x/1"))
        other.wire.send(Asked(7, "m", 1.0, "", None, 0.0, []))
        await until(lambda: any(isinstance(each, Given) for each in other.heard))
        assert them.leader.in_flight() == 1
        other.wire.send(Left(7))
        await until(lambda: them.leader.in_flight() == 0)


async def test_a_slot_that_moves_to_the_leader_teaches_the_whole_time_that_its_job_took() -> None:
    async with company(1) as them:
        await them.worker("w")
        other = await stranger(them)
        other.wire.send(Hello(LANGUAGE, me(them).identity, me(them).token, "x/1"))
        other.wire.send(Held([(7, "w", "m", 2.0)], [60.0]))
        other.wire.send(Returned(7, "SERVED"))
        rates = them.leader.board.registry.rates
        await until(lambda: rates.known("m"))
        assert 30 <= rates.per_unit("m") < 31


async def test_a_slot_of_which_an_earlier_release_does_not_say_how_long_it_lasts_teaches_nothing() -> None:
    async with company(1) as them:
        await them.worker("w")
        other = await stranger(them)
        other.wire.send(Hello(LANGUAGE, me(them).identity, me(them).token, "x/1"))
        other.wire.send(Held([(7, "w", "m", 2.0)]))
        await until(lambda: them.leader.in_flight() == 1)
        other.wire.send(Returned(7, "SERVED"))
        await until(lambda: them.leader.in_flight() == 0)
        assert not them.leader.board.registry.rates.known("m")


async def test_a_model_that_nobody_knows_is_refused() -> None:
    async with company(1) as them:
        other = await stranger(them)
        other.wire.send(Hello(LANGUAGE, me(them).identity, me(them).token, "x/1"))
        other.wire.send(Asked(7, "unheard-of", 1.0, "", None, 0.0, []))
        await until(lambda: any(isinstance(each, Denied) and each.status == 404 for each in other.heard))


async def test_a_peer_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_orchestrator.app.peers.wire.BEAT_SECONDS", 0.05)
    monkeypatch.setattr("stoker_orchestrator.app.peers.wire.SILENT_SECONDS", 0.2)
    async with company(1) as them:
        reader, writer = await asyncio.open_connection(*me(them).address.split(":"))
        said = await reader.read()
        assert set(said.splitlines()) == {b'["Beat"]'}
        writer.close()


def test_a_message_is_the_same_after_the_way() -> None:
    asked = Asked(7, "m", 1.5, "somebody", None, 0.25, ["a"])
    assert decode(encode(asked).strip()) == asked
    assert decode(encode(Beat()).strip()) == Beat()


def test_a_load_of_an_earlier_release_tells_of_no_recovery() -> None:
    told = Load({"a": EndpointLoad(2, recovered=True)}).wire()
    del told["endpoints"]["a"][6:]

    assert Load.read(told).endpoints == {"a": EndpointLoad(2)}


def test_a_load_is_the_same_after_the_way() -> None:
    busy = EndpointLoad(2, 3.5, 1.25, ejected=True, ahead=True, leaving=Leaving.RETIRING, recovered=True)
    load = Load({"a": busy}, {"m": Crowd(3, 7.5, 2, 1.0)}, [["m", "gpu", 1.0, 2.0, 3.0, 1.0, True]], ["n"])
    message = decode(encode(Loaded(load.wire(), ["x/1"])).strip())
    assert isinstance(message, Loaded)
    assert Load.read(message.load) == load
    assert Load.read(message.load).lines["m"].oldest == 1.0
    assert replace(load, roomless=[]) != load
