"""Containers that somebody else runs, followed over real connections on loopback."""

import asyncio
import contextlib
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from stoker_orchestrator.adapters.fleets import urls
from stoker_orchestrator.adapters.fleets.urls import UrlFleet
from stoker_orchestrator.adapters.health import HealthCheck
from stoker_orchestrator.adapters.tokens import Tokens
from stoker_orchestrator.domain.advertise import verdict
from stoker_orchestrator.domain.events import EndpointGone, FleetEvent, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.model import EndpointState, Url
from tests.support.fleet import PlayedFleet, endpoint, model, seen
from tests.support.ports import free_port
from tests.support.runners import FakeRunner, well
from tests.support.url_fleet import TOKEN, external, following
from tests.support.waiting import until

READY, STARTING = EndpointState.READY, EndpointState.STARTING


async def test_all_containers_have_been_looked_at_before_everything_is_said_to_be_told() -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(FakeRunner(base="/a/b").running())
        other = await stack.enter_async_context(FakeRunner().running())
        async with following(external(one.url(2), other.url(), Url("http://127.0.0.1:9"))) as here:
            assert here.states() == [READY, READY, STARTING]
            assert [each.id for each in here.registry.endpoints] == ["m-url-0", "m-url-1", "m-url-2"]
            assert [(each.capacity, each.pulse) for each in here.registry.endpoints] == [(2, False), (1, False), (1, False)]
            assert here.events[-1] == Synced()
            assert not here.model.startable


async def test_a_container_that_goes_away_and_comes_back_is_noticed_both_ways_and_advertised_with_the_reason() -> None:
    async with AsyncExitStack() as stack:
        stays = await stack.enter_async_context(FakeRunner().running())
        leaves = await stack.enter_async_context(FakeRunner().running())
        async with following(external(stays.url(), leaves.url())) as here:
            assert verdict(here.registry, here.model).message == "advertised as warm"
            await leaves.stop()
            await until(lambda: here.states() == [READY, STARTING])

            words = "endpoint 2 of 2 does not answer (connection refused)"
            assert here.troubles() == ["", words]
            assert verdict(here.registry, here.model).message == f"advertised as warm; {words}"
            await stays.stop()
            await until(lambda: here.states() == [STARTING, STARTING])
            assert verdict(here.registry, here.model).message == (
                f"not advertised: endpoint 1 of 2 does not answer (connection refused); {words}"
            )
            await leaves.start()
            await until(lambda: here.states() == [STARTING, READY])


async def test_a_silent_container_is_down_unless_a_job_of_ours_runs_there() -> None:
    async with FakeRunner().running() as runner, following(external(runner.url())) as here:
        silence = asyncio.Event()

        async def silent(request: web.Request) -> web.StreamResponse:
            await silence.wait()
            return await well(request)

        here.busy.add("m-url-0")
        runner.health = silent
        asked = len(runner.looks)
        await until(lambda: len(runner.looks) > asked + 2)
        assert here.states() == [READY]

        here.busy.clear()
        await until(lambda: here.states() == [STARTING])
        assert here.troubles() == ["endpoint 1 of 1 does not answer (nothing came for 0.2 s)"]
        silence.set()
        await until(lambda: here.states() == [READY])


async def test_who_does_not_lead_takes_silence_for_work_until_who_leads_calls_it_death() -> None:
    async with FakeRunner().running() as runner, following(external(runner.url())) as here:
        never = asyncio.Event()

        async def silent(request: web.Request) -> web.StreamResponse:
            await never.wait()
            return await well(request)

        here.leads = False
        here.busy.add("m-url-0")
        runner.health = silent
        asked = len(runner.looks)
        await until(lambda: len(runner.looks) > asked + 2)
        assert here.states() == [READY]

        here.inner.tell(ModelSeen(external(runner.url(), told_down=frozenset({0}))))

        await until(lambda: here.states() == [STARTING])
        here.leads = True
        never.set()
        await until(lambda: here.states() == [READY])


async def test_a_container_is_asked_with_its_token_and_a_changed_key_counts_at_once(tmp_path: Path) -> None:
    (tmp_path / "provider").write_text("old\n")

    async def guarded(request: web.Request) -> web.StreamResponse:
        return await well(request) if request.headers.get("Authorization") == f"Bearer {TOKEN}" else web.Response(status=401)

    async with FakeRunner(base="/b").running() as runner:
        runner.health = guarded
        async with following(external(runner.url(key="provider")), folder=tmp_path) as here:
            assert here.troubles() == ["endpoint 1 of 1 refuses the token (401); look at the key provider"]
            assert here.model.obstacle is not None
            assert here.model.obstacle.reason == "TokenRefused"
            assert here.fleet.authorization("m-url-0") == b"Bearer old"

            (tmp_path / "provider").write_text(TOKEN)

            await until(lambda: here.states() == [READY])
            assert here.model.obstacle is None
            assert here.fleet.authorization("m-url-0") == f"Bearer {TOKEN}".encode()
            assert here.fleet.authorization("m-5d9c7b8f4d-x2x9z.0") is None


@pytest.mark.parametrize(
    ("kept", "words"),
    [(None, "needs a token and the token Secret has no key provider"),
     ("", "needs a token and the key provider of the token Secret holds none; it must be one line of visible ASCII"),
     ("two\nlines", "needs a token and the key provider of the token Secret holds none; it must be one line of visible ASCII")],
)  # fmt: skip
async def test_a_container_without_its_token_is_down_and_the_key_is_named(tmp_path: Path, kept: str | None, words: str) -> None:
    if kept is not None:
        (tmp_path / "provider").write_text(kept)
    async with FakeRunner().running() as runner, following(external(runner.url(key="provider")), folder=tmp_path) as here:
        assert here.troubles() == [f"endpoint 1 of 1 {words}"]
        assert here.fleet.authorization("m-url-0") is None
        assert runner.looks == [], "nobody is asked without the token"


async def test_a_container_that_refuses_a_job_gets_none_until_the_key_is_changed(tmp_path: Path) -> None:
    """The runner's own health asks for no token."""
    (tmp_path / "provider").write_text("old")
    async with FakeRunner().running() as runner, following(external(runner.url(key="provider")), folder=tmp_path) as here:
        here.fleet.barred("m-url-0", 401)
        asked = len(runner.looks)
        await until(lambda: len(runner.looks) > asked + 2)
        assert here.troubles() == ["endpoint 1 of 1 refuses the token (401); look at the key provider"]

        (tmp_path / "provider").write_text("new")

        await until(lambda: here.states() == [READY])


async def test_an_edited_list_keeps_the_containers_that_stand_where_they_stood() -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(FakeRunner().running())
        other = await stack.enter_async_context(FakeRunner().running())
        async with following(external(one.url(), other.url())) as here:
            first = here.registry.endpoint("m-url-0")
            here.inner.tell(ModelSeen(external(one.url(5))))
            assert here.registry.endpoint("m-url-0") is first
            assert here.states() == [READY]
            assert here.registry.endpoints[0].capacity == 5
            assert EndpointGone("m-url-1") in here.events

            here.inner.tell(ModelSeen(external(other.url())))
            assert here.states() == [STARTING], "it is another one, and was not looked at"
            await until(lambda: here.states() == [READY])
            assert here.registry.endpoint("m-url-0") is not first

            here.inner.tell(ModelSeen(model()))
            assert here.states() == []
            here.inner.tell(ModelSeen(external(one.url())))
            here.inner.tell(ModelGone("m"))
            assert (here.states(), here.registry.models) == ([], [])


async def test_a_container_that_is_no_longer_named_is_not_waited_for_at_the_start() -> None:
    async with FakeRunner().running() as runner:
        never = asyncio.Event()

        async def silent(request: web.Request) -> web.StreamResponse:
            await never.wait()
            return await well(request)

        runner.health = silent
        inner, events = PlayedFleet(*seen(external(runner.url()))), list[FleetEvent]()
        check = HealthCheck(Tokens(), ssl.create_default_context(), patience=60)
        task = asyncio.create_task(UrlFleet(inner, Tokens(), check, lambda _: False).run(events.append))
        await until(lambda: runner.looks)
        assert Synced() not in events

        inner.tell(ModelGone("m"))

        await until(lambda: Synced() in events)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_how_the_containers_are_is_reported_by_who_leads_and_again_where_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "REPORT_SECONDS", 0.05)
    async with FakeRunner().running() as runner, following(external(runner.url())) as here:
        await until(lambda: here.inner.reported.get("m") and here.inner.reported["m"][0].reason == "Serving")
        here.inner.broken = True
        await runner.stop()
        await until(lambda: here.states() == [STARTING])
        here.inner.broken, here.leads = False, False
        here.inner.reported.clear()
        await here.inner.report("m", [])
        asked = asyncio.get_running_loop().time() + 0.3
        await until(lambda: asyncio.get_running_loop().time() > asked)
        assert here.inner.reported == {"m": []}

        here.leads = True

        await until(lambda: here.inner.reported["m"] and here.inner.reported["m"][0].reason == "NoAnswer")


async def test_a_model_whose_containers_are_down_for_longer_than_a_job_may_wait_has_an_obstacle() -> None:
    async with following(external(Url(f"http://127.0.0.1:{free_port()}"), start_timeout=0.3)) as here:
        assert here.model.obstacle is None
        await until(lambda: here.model.obstacle is not None)
        assert here.model.obstacle is not None
        assert here.model.obstacle.reason == "NoAnswer"


async def test_what_is_asked_of_workers_goes_to_the_other_fleet_and_its_endpoints_pass() -> None:
    async with following(model("ours")) as here:
        here.inner.tell(endpoint("pod", "ours"))
        await here.fleet.scale("ours", 2, expected=0)
        await here.fleet.rank("pod", 3)
        await here.fleet.explain("ours", [])

    assert here.states() == [READY]
    assert (here.inner.scaled, here.inner.ranks, here.inner.explained) == ([("ours", 2)], {"pod": 3}, {"ours": []})
