"""What the orchestrator tells beside jobs: capabilities, readiness, metrics; and which settings it refuses."""

import asyncio
from typing import Any

import pytest

from stoker_contracts.overview import Overview
from stoker_orchestrator.app.attempts import Attempts
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.domain.events import EndpointGone, ModelGone, ModelSeen
from stoker_orchestrator.domain.model import EndpointState, Obstacle
from tests.support.fleet import endpoint, model
from tests.support.orchestrator import JOB, code, world
from tests.support.waiting import until


async def test_readiness_changes_show_in_capabilities_and_in_the_condition() -> None:
    async with world() as here:
        await until(lambda: here.fleet.shown["m"].reason == "Cold")
        await here.worker("w")
        warm = (await here.client.get("/capabilities")).json()
        await until(lambda: here.fleet.shown["m"].reason == "Warm")
        here.fleet.tell(endpoint("w", state=EndpointState.DRAINING))
        cold = (await here.client.get("/capabilities")).json()
        here.fleet.tell(EndpointGone("w"))
        here.fleet.tell(ModelSeen(model(obstacle=Obstacle("LoadFailed", "words"))))
        gone = (await here.client.get("/capabilities")).json()
        await until(lambda: here.fleet.shown["m"].reason == "NotReady")

    states = [[offer["warm"] for offer in each["capabilities"][0]["models"]] for each in (warm, cold, gone)]
    assert states == [[True], [False], []]
    assert warm["generation"] < cold["generation"] < gone["generation"]


async def test_watchers_get_the_document_and_then_each_change() -> None:
    async with world() as here:
        changes: Any = here.orchestrator.broker.publisher.changes()
        first = await anext(changes)
        second = asyncio.ensure_future(anext(changes))
        await here.worker("w")
        then = await second
        await changes.aclose()

    assert not first.capabilities[0].models[0].warm
    assert then.capabilities[0].models[0].warm
    assert then.generation > first.generation


async def test_a_watcher_who_was_busy_with_one_change_hears_of_the_last_that_came_meanwhile() -> None:
    async with world() as here:
        publisher = here.orchestrator.broker.publisher
        changes: Any = publisher.changes()
        await anext(changes)
        await here.worker("w")
        while not (await anext(changes)).capabilities[0].models[0].warm:
            pass
        missed = asyncio.create_task(publisher.after(publisher._number))
        here.fleet.tell(endpoint("w", state=EndpointState.DRAINING))
        await missed
        async with asyncio.timeout(5):
            last = await anext(changes)
        await changes.aclose()

    assert not last.capabilities[0].models[0].warm


async def test_jobs_go_on_while_the_fleet_cannot_be_asked() -> None:
    async with world() as here:
        here.fleet.broken = True
        await here.worker("w")
        answer = await here.post(json=JOB)
        here.fleet.broken = False
        await until(lambda: here.fleet.shown.get("m") and here.fleet.shown["m"].reason == "Warm")

    assert answer.status_code == 200


async def test_it_is_ready_after_the_first_full_list_and_not_while_it_stops() -> None:
    async with world() as here:
        ready = await here.client.get("/readyz")
        here.orchestrator.server.wind_down()
        stopping = await here.client.get("/readyz")
        async with here.caller() as another:
            refused = await another.post("/text-to-image", json=JOB)

    assert (ready.status_code, stopping.status_code) == (200, 503)
    assert code(refused) == (503, "stopping")


async def test_metrics_count_jobs_by_model_status_and_reason() -> None:
    async with world() as here:
        await here.worker("w")
        await here.post(json=JOB)
        await here.client.post("/text-to-image", json={"model_id": "org/other"})
        text = (await here.client.get("/metrics")).text

    assert 'stoker_jobs_total{model="m",reason="answered",status="200"} 1.0' in text
    assert 'stoker_jobs_total{model="",reason="model_not_found",status="404"} 1.0' in text


async def test_a_job_that_fails_in_a_way_that_was_not_foreseen_counts_as_what_its_caller_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: Any) -> None:
        message = "its own"
        raise ValueError(message)

    monkeypatch.setattr(Attempts, "serve", fail)
    async with world() as here:
        answer = await here.post(json=JOB)

        assert code(answer) == (500, "internal")
        assert here.metric("stoker_jobs_total", model="m", status="500", reason="internal") == 1


async def test_metrics_show_the_fleet_as_it_is_when_they_are_read() -> None:
    async with world(model("a"), model("b")) as here:
        await here.worker("a-1", of="a")
        before = (await here.client.get("/metrics")).text
        here.fleet.tell(ModelGone("a"))
        here.fleet.tell(EndpointGone("a-1"))
        after = (await here.client.get("/metrics")).text

    assert 'stoker_model_warm{model="a"} 1.0' in before
    assert 'stoker_model_warm{model="b"} 0.0' in before
    assert 'stoker_models{state="serving"} 1.0' in before
    assert 'stoker_endpoints{model="a",state="ready"} 1.0' in before
    assert 'model="a"' not in after
    assert 'stoker_models{state="serving"} 0.0' in after


async def test_status_is_the_document_that_its_schema_describes() -> None:
    async with world() as here:
        await here.worker("w")
        answer = await here.client.get("/status")

    assert Overview.model_validate_json(answer.content).models[0].workers[0].id == "w"
    assert answer.headers["cache-control"] == "no-store"


async def test_status_tells_why_a_worker_was_asked_for() -> None:
    async with world(model("a")) as here:
        job = asyncio.create_task(here.post(json=JOB | {"model_id": "org/a"}))
        await until(lambda: here.fleet.scaled)
        (told,) = Overview.model_validate_json((await here.client.get("/status")).content).models
        await here.worker("a-1", of="a")
        answer = await job

    (decision,) = told.decisions
    assert (decision.before, decision.after, decision.reason) == (0, 1, "Wake")
    assert (told.line.waiting, answer.status_code) == (1, 200)


async def test_what_became_of_each_job_is_counted_with_its_reason() -> None:
    async with world(model("a"), model("b", obstacle=Obstacle("LoadFailed", "words"))) as here:
        held = asyncio.create_task(here.post(json=JOB | {"model_id": "org/a"}))
        await until(lambda: here.fleet.scaled)
        await here.worker("a-1", of="a")
        await held
        await here.post(json=JOB | {"model_id": "org/a"})
        await here.post(json=JOB | {"model_id": "org/b"})
        text = (await here.client.get("/metrics")).text

    assert 'stoker_decisions_total{kind="hold",model="a",reason="cold"} 1.0' in text
    assert 'stoker_decisions_total{kind="admit",model="a",reason="slot_free"} 1.0' in text
    assert 'stoker_decisions_total{kind="refuse",model="b",reason="LoadFailed"} 1.0' in text
    assert 'stoker_decisions_total{kind="scale",model="a",reason="Wake"} 1.0' in text
    assert 'stoker_cold_starts_total{model="a"} 1.0' in text


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"port": 0}, "port"), ({"namespace": ""}, "STOKER_NAMESPACE"), ({"fleet": "processes"}, "STOKER_MODELS_CONFIG")],
)
def test_a_bad_setting_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(**({"fleet": "kubernetes", "namespace": "n"} | settings))
