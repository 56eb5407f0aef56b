"""What workers say of themselves, and what of it is advertised."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from stoker_contracts.capabilities import Hardware
from stoker_contracts.overview import WorkerState
from stoker_orchestrator.adapters.probe import Prober
from stoker_orchestrator.app import introductions
from stoker_orchestrator.domain.events import EndpointGone
from stoker_orchestrator.domain.model import Endpoint, EndpointState
from stoker_orchestrator.domain.runner import Runner, read_runner
from tests.support.fleet import endpoint
from tests.support.orchestrator import World, world
from tests.support.waiting import until
from tests.support.workers import FakeWorker

MODEL = {"pipeline": "text-to-image", "model_id": "org/m"}
CARD = {"id": "GPU-1", "name": "NVIDIA H100", "memory_total": 80, "memory_free": 60, "major": 9, "minor": 0}
SHOWN = Hardware(name="NVIDIA H100", memory_total=80, memory_free=60)


def saying(version: str, *cards: dict[str, Any]) -> dict[str, Any]:
    by_number = {str(number): card for number, card in enumerate(cards)}
    return {"/version": MODEL | {"version": version}, "/hardware/info": MODEL | {"gpu_info": by_number}}


async def offered(here: World, version: str, *cards: Hardware) -> None:
    """Wait until this is advertised."""
    async for document in here.orchestrator.broker.publisher.changes():
        found = document.capabilities[0].models[0]
        if (found.runner_version, found.hardware) == (version, cards):
            return


async def test_the_lowest_version_and_the_cards_of_all_workers_that_serve_are_advertised() -> None:
    async with world() as here:
        await here.worker("one", says=saying("1.10.0", CARD))
        await offered(here, "1.10.0", SHOWN)
        await here.worker("two", says=saying("1.9.2+cu130", CARD, CARD))
        await offered(here, "1.9.2+cu130", SHOWN, SHOWN, SHOWN)
        here.fleet.tell(EndpointGone("two"))
        await offered(here, "1.10.0", SHOWN)


async def test_a_worker_is_asked_once_and_again_when_it_has_become_ready_anew() -> None:
    async with world() as here:
        asked = await here.worker("one", says=saying("1.0.0"))
        await offered(here, "1.0.0")
        here.fleet.tell(endpoint("one", address=asked.address))
        asked.says = saying("2.0.0", CARD)
        here.fleet.tell(endpoint("one", address=asked.address, state=EndpointState.STARTING))
        here.fleet.tell(endpoint("one", address=asked.address))
        await offered(here, "2.0.0", SHOWN)

    assert [path for path, _ in asked.asked] == ["/version", "/hardware/info"] * 2


async def test_what_a_worker_runs_on_is_known_until_it_is_gone() -> None:
    async with world() as here:
        asked = await here.worker("one", says=saying("1.0.0", CARD))
        await offered(here, "1.0.0", SHOWN)
        here.fleet.tell(endpoint("one", address=asked.address, state=EndpointState.DRAINING))
        (shown,) = here.orchestrator._look().models[0].workers

    assert (shown.state, shown.device) == (WorkerState.DRAINING, "NVIDIA H100")


async def test_a_worker_that_cannot_be_asked_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introductions, "_AGAIN_SECONDS", 0.01)
    async with world() as here:
        asked = await here.worker("one", says={"/version": lambda: web.Response(status=503)})
        await until(lambda: len(asked.asked) > 2)
        assert here.orchestrator.broker.registry.is_warm("m")
        asked.says = saying("1.0.0", CARD)
        await offered(here, "1.0.0", SHOWN)


async def test_an_endpoint_that_comes_back_while_it_is_waited_for_is_asked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introductions, "_AGAIN_SECONDS", 0.1)
    async with world() as here:
        asked = await here.worker("one", says={"/version": lambda: web.Response(status=503)})
        await until(lambda: asked.asked)
        here.fleet.tell(EndpointGone("one"))
        here.fleet.tell(endpoint("one", address=asked.address))
        asked.says = saying("1.0.0", CARD)
        await offered(here, "1.0.0", SHOWN)


async def test_what_a_worker_said_before_it_became_ready_anew_is_not_taken() -> None:
    async with world() as here:

        def replaced() -> web.Response:
            here.fleet.tell(endpoint("one", address=asked.address, state=EndpointState.STARTING))
            here.fleet.tell(endpoint("one", address=asked.address))
            asked.says = saying("2.0.0")
            return web.json_response(saying("1.0.0")["/hardware/info"])

        asked = await here.worker("one", says=saying("1.0.0") | {"/hardware/info": replaced})
        await offered(here, "2.0.0")


@pytest.mark.parametrize(
    "says",
    [
        {},
        {"/version": ["1.0.0"], "/hardware/info": 7},
        saying("1.0.0 <script>"),
        saying("1" * 65),
        {"/version": lambda: web.Response(body=b" " * 100_000 + json.dumps(saying("1.0.0")["/version"]).encode())},
        {"/version": lambda: web.Response(status=302, headers={"Location": "/hardware/info"})},
    ],
)
async def test_nothing_is_taken_from_an_answer_that_is_none(says: dict[str, Callable[[], web.Response]]) -> None:
    prober = Prober()
    async with FakeWorker().running() as asked:
        asked.says = says
        assert await prober.introduce(Endpoint("one", "m", asked.address)) == Runner()
    await prober.close()


async def test_who_is_asked_what_it_is_sees_its_own_key_alone() -> None:
    prober = Prober(authorization={"foreign": b"Bearer k"}.get)
    async with FakeWorker().running() as foreign, FakeWorker().running() as own:
        await prober.introduce(Endpoint("foreign", "m", f"http://{foreign.address}/"))
        await prober.introduce(Endpoint("own", "m", own.address))
    await prober.close()

    assert foreign.asked == [("/version", "Bearer k"), ("/hardware/info", "Bearer k")]
    assert own.asked == [("/version", None), ("/hardware/info", None)]


async def test_a_worker_that_is_not_there_cannot_be_asked() -> None:
    prober = Prober()
    async with FakeWorker().running() as gone:
        address = gone.address
    assert await prober.introduce(Endpoint("gone", "m", address)) is None
    await prober.close()


def cards(*told: dict[str, Any]) -> tuple[Hardware, ...]:
    return read_runner(b"", json.dumps(saying("1", *told)["/hardware/info"]).encode()).hardware


def test_names_of_cards_are_shown_within_bounds() -> None:
    shown = cards(*[CARD | {"name": "a\nb" * 100}] * 100)

    assert {each.name for each in shown} == {("ab" * 100)[:128]}
    assert len(shown) == 64


@pytest.mark.parametrize("strange", [{"memory_free": -1}, {"memory_free": 81}, {"memory_total": 10**30, "memory_free": 10**30}])
def test_a_card_of_a_size_that_none_has_is_left_out(strange: dict[str, int]) -> None:
    assert cards(CARD | strange, CARD) == (SHOWN,)
