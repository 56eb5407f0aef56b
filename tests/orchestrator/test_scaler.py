"""What scaling asks of a fleet, over an orchestrator in process."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stoker_contracts.resources.scaling import MAX_DECISIONS, ScalingReason
from stoker_orchestrator.app import scaling
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.domain.events import EndpointGone, ModelGone, ModelSeen
from stoker_orchestrator.domain.model import Bounds, EndpointState, Model, Obstacle
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.scaling import Scaling
from stoker_orchestrator.domain.switchboard import Switchboard
from tests.support.fleet import PlayedFleet, endpoint, model
from tests.support.orchestrator import JOB, World, code, world
from tests.support.virtual import GPU, LACKING
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LOOK_SECONDS", 0.01)


def brief(least: int = 0, **others: Any) -> Model:
    """A model whose workers go when they are idle for a moment."""
    return model(scaling=Bounds(least, 2, idle_after=0.2), start_timeout=20, **others)


def decisions(here: World, name: str = "m") -> list[tuple[int, int, ScalingReason]]:
    return [(each.before, each.after, each.reason) for each in here.fleet.explained.get(name, [])]


async def test_a_worker_comes_with_the_first_job_and_goes_when_it_is_idle_and_both_are_told() -> None:
    async with world(brief(), residency_seconds=0) as here:
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.fleet.scaled)
        here.fleet.tell(ModelSeen(brief(replicas=1)))
        await here.worker("w")
        assert (await job).status_code == 200

        await until(lambda: here.fleet.scaled == [("m", 1), ("m", 0)])
        assert here.fleet.ranks == {"w": -1}
        here.fleet.tell(ModelSeen(brief()))
        here.fleet.tell(EndpointGone("w"))
        await until(lambda: len(decisions(here)) == 2)

    assert decisions(here) == [(0, 1, ScalingReason.WAKE), (1, 0, ScalingReason.IDLE)]
    assert here.metric("stoker_wakes_total", model="m") == 1
    for kind, reason in (("scale", "Wake"), ("scale", "Idle"), ("retire", "Idle")):
        assert here.metric("stoker_decisions_total", kind=kind, reason=reason, model="m") == 1


async def test_a_model_that_is_made_anew_has_no_decisions_of_the_one_before() -> None:
    async with world(brief()) as here:
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: decisions(here))
        here.fleet.tell(ModelGone("m"))
        await job
        here.fleet.tell(ModelSeen(brief()))

        assert here.orchestrator.broker.scaler.decisions("m") == ()


async def test_jobs_go_to_a_worker_that_the_fleet_could_not_end() -> None:
    async with world(brief(replicas=1), residency_seconds=0) as here:
        await here.worker("w")
        await until(lambda: here.fleet.ranks == {"w": -1})
        here.fleet.broken = True
        await until(lambda: here.fleet.scaled)
        answer = await here.post(json=JOB)

    assert answer.status_code == 200
    assert decisions(here) == []
    assert here.metric("stoker_decisions_total", kind="revive", reason="Failed", model="m") == 1


async def test_one_call_for_a_model_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_orchestrator.domain.scaling.ASK_AGAIN_SECONDS", 0.01)
    release = asyncio.Event()
    async with world(brief()) as here:
        calls = []

        async def scale(name: str, replicas: int, *, expected: int) -> None:
            calls.append((name, replicas, expected))
            await release.wait()

        monkeypatch.setattr(here.fleet, "scale", scale)
        waiting = asyncio.create_task(here.post(json=JOB))
        await until(lambda: calls)
        looks = here.orchestrator.broker.scaler._scaling
        seen = 0

        def count(*arguments: Any, **others: Any) -> object:
            nonlocal seen
            seen += 1
            return look(*arguments, **others)

        look = looks.look
        monkeypatch.setattr(looks, "look", count)
        await until(lambda: seen > 5)
        assert calls == [("m", 1, 0)]
        release.set()
        await until(lambda: len(calls) > 1)
        waiting.cancel()


async def test_who_does_not_lead_asks_for_nothing() -> None:
    async with world(brief()) as here:
        here.orchestrator.broker.may_write = lambda: False
        waiting = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting and here.aged(0.1))
        assert here.fleet.scaled == []

        here.orchestrator.broker.may_write = lambda: True
        await until(lambda: here.fleet.scaled == [("m", 1)])
        waiting.cancel()


async def test_a_job_that_nobody_can_make_room_for_is_refused_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_orchestrator.domain.placement._SURE_SECONDS", 0.05)
    stuck = brief(replicas=1, obstacle=Obstacle("Unschedulable", f"no node has 1 free {GPU}", of_room=True))
    async with world(stuck) as here:
        here.fleet.tell(endpoint("w", state=EndpointState.STARTING, devices={GPU: 1}, no_room=LACKING))
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "Unschedulable")


async def test_who_waits_for_whom_is_shown_and_counted() -> None:
    idle, cold = replace(brief(replicas=1), name="idle", model_id="org/idle"), brief(replicas=1)
    idle = replace(idle, scaling=Bounds(0, 1, idle_after=1000))
    async with world(idle, cold, residency_seconds=0) as here:
        here.fleet.tell(endpoint("i", "idle", devices={GPU: 1}))
        here.fleet.tell(endpoint("w", state=EndpointState.STARTING, devices={GPU: 1}, no_room=LACKING))
        waiting = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.fleet.scaled == [("idle", 0)])
        await until(lambda: decisions(here) and decisions(here, "idle"))
        waiting.cancel()

    assert decisions(here, "idle") == [(1, 0, ScalingReason.MAKE_ROOM)]
    assert decisions(here) == [(1, 1, ScalingReason.WAITS_FOR_ROOM)]
    assert here.fleet.explained["m"][0].message == f"no {GPU} is free; idle makes room"
    for name, reason in (("idle", "MakeRoom"), ("m", "WaitsForRoom")):
        assert here.metric("stoker_decisions_total", kind="swap", reason=reason, model=name) == 1


async def test_the_last_five_decisions_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_orchestrator.domain.scaling.ASK_AGAIN_SECONDS", 0.02)
    async with world(brief()) as here:
        for number in range(MAX_DECISIONS + 2):
            here.fleet.tell(ModelSeen(brief(replicas=3 + number)))
            await until(lambda number=number: here.fleet.scaled[number:])  # type: ignore[misc]
            here.fleet.tell(ModelSeen(brief(replicas=2)))
            await until(lambda number=number: decisions(here)[-1:] == [(3 + number, 2, ScalingReason.BOUNDS)])  # type: ignore[misc]

    assert [before for before, _, _ in decisions(here)] == [5, 6, 7, 8, 9]


async def test_it_ends_even_in_the_moment_of_a_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LOOK_SECONDS", 10)
    machine = Scaling(Switchboard(Registry()), now=0)
    scaler = scaling.Scaler(machine, PlayedFleet(), Metrics(), lambda: True, lambda _: None)
    looking = asyncio.create_task(scaler.run())
    await asyncio.sleep(0.01)
    scaler.wake("m")
    await asyncio.sleep(0)
    looking.cancel()

    await until(looking.done, seconds=2)
