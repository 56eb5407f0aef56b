"""The orchestrator's ASGI application in process, over real HTTP to workers on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from aiohttp import web

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.app.process import Orchestrator
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.domain.events import EndpointGone, ModelSeen
from stoker_orchestrator.domain.model import EndpointState, Model, Obstacle
from tests.support.fleet import PlayedFleet, endpoint, model, seen
from tests.support.waiting import until
from tests.support.workers import Behaviour, FakeWorker, die, die_midway, draining, echo

JOB = {"prompt": "a red circle", "model_id": "org/m"}


class World:
    """An orchestrator with a played fleet and fake workers."""

    def __init__(self, stack: AsyncExitStack, settings: Settings, fleet: PlayedFleet) -> None:
        self.orchestrator = Orchestrator(settings, fleet)
        self.fleet = fleet
        self.app = self.orchestrator.app
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://o", timeout=20)
        self._stack = stack

    async def worker(self, identity: str, behaviour: Behaviour = echo, of: str = "m", capacity: int = 1) -> FakeWorker:
        worker = await self._stack.enter_async_context(FakeWorker(behaviour).running())
        self.fleet.tell(endpoint(identity, of, capacity, address=worker.address))
        return worker

    async def post(self, path: str = "/text-to-image", **request: Any) -> httpx2.Response:
        return await self.client.post(path, **request)

    @property
    def waiting(self) -> int:
        return self.orchestrator.broker.switchboard.waiting("m")


@asynccontextmanager
async def world(*models: Model, **settings: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        fleet = PlayedFleet(*seen(*(models or (model(start_timeout=20),))))
        made = World(stack, Settings(fleet="kubernetes", namespace="n", **settings), fleet)
        following = asyncio.create_task(made.orchestrator.broker.run())
        await until(lambda: made.orchestrator.broker.registry.synced)
        try:
            yield made
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                await following
            await made.client.aclose()
            made.orchestrator._upstream.close()


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_job_reaches_a_worker_and_the_answer_its_caller() -> None:
    async with world() as here:
        worker = await here.worker("w")
        answer = await here.post(json=JOB, headers={"Stoker-Request-Id": "mine-1"})

    assert answer.status_code == 200
    assert answer.headers["stoker-request-id"] == "mine-1"
    assert (answer.headers["stoker-model"], answer.headers["stoker-worker"]) == ("m", "w")
    path, headers, body = worker.requests[0]
    assert (path, headers["Stoker-Request-Id"]) == ("/text-to-image", "mine-1")
    assert len(body) == answer.json()["length"]


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "new\tline", ""])
async def test_a_strange_request_id_is_replaced(bad: str) -> None:
    async with world() as here:
        await here.worker("w")
        answer = await here.post(json=JOB, headers={"Stoker-Request-Id": bad})

    assert answer.headers["stoker-request-id"] not in ("", bad)


async def test_the_model_can_be_named_by_path_header_body_or_not_at_all() -> None:
    async with world() as here:
        await here.worker("w")
        answers = [
            await here.client.post("/models/m/text-to-image", json={"prompt": "p"}),
            await here.client.post("/text-to-image/", json={"prompt": "p"}, headers={"Stoker-Model": "org/m"}),
            await here.client.post("/text-to-image", json=JOB),
            await here.client.post("/text-to-image", json={"prompt": "p"}),
        ]

    assert [answer.status_code for answer in answers] == [200] * 4


@pytest.mark.parametrize(
    ("path", "body", "expected", "words"),
    [
        ("/text-to-image", {"model_id": "org/other"}, (404, "model_not_found"), "there are: org/m, org/n"),
        ("/models/other/text-to-image", {}, (404, "model_not_found"), "org/m"),
        ("/models/m/image-to-video", {}, (404, "model_not_found"), "there are none"),
        ("/text-to-image", {}, (400, "invalid_request"), "model_id must name a model; there are: org/m, org/n"),
        ("/text-to-image", [], (400, "invalid_request"), "JSON object"),
    ],
)
async def test_a_request_that_names_no_model_is_told_the_choices(
    path: str, body: Any, expected: tuple[int, str], words: str
) -> None:
    async with world(model("m"), model("n")) as here:
        answer = await here.client.post(path, json=body)

    assert code(answer) == expected
    assert words in answer.json()["detail"]["msg"]


async def test_other_methods_and_paths_are_refused_in_the_same_shape() -> None:
    async with world() as here:
        wrong_method = await here.client.get("/text-to-image")
        wrong_path = await here.client.post("/text-to-speech")

    assert code(wrong_method) == (405, "method_not_allowed")
    assert wrong_path.status_code == 404
    assert wrong_path.json()["detail"]["msg"]


async def test_a_form_with_the_model_behind_its_file_is_routed_and_arrives_whole() -> None:
    video = model(pipeline=Pipeline.IMAGE_TO_VIDEO)
    async with world(video, model("n", pipeline=Pipeline.IMAGE_TO_VIDEO)) as here:
        worker = await here.worker("w")
        files: Any = {"image": ("a.png", b"x" * 900_000, "image/png"), "model_id": (None, b"org/m")}
        answer = await here.client.post("/image-to-video", files=files)

    assert answer.status_code == 200
    _, headers, body = worker.requests[0]
    assert len(body) > 900_000
    assert body.endswith(b"--\r\n")
    assert headers["Stoker-Output-Format"] == "mp4"


async def test_a_large_body_lies_in_a_file_and_its_bytes_are_given_back() -> None:
    async with world() as here:
        worker = await here.worker("w")
        body = bytes(range(256)) * 8192
        answer = await here.client.post("/text-to-image", content=body, headers={"Stoker-Model": "org/m"})
        budget = here.orchestrator.jobs._budget.used

    assert answer.status_code == 200
    assert worker.requests[0][2] == body
    assert budget == 0


async def test_a_body_over_the_limit_is_a_413_declared_or_not() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with world(max_body_bytes=1000) as here:
        worker = await here.worker("w")
        declared = await here.client.post("/text-to-image", content=b"x" * 1001)
        undeclared = await here.client.post("/text-to-image", content=chunks())

    assert code(declared) == code(undeclared) == (413, "body_too_large")
    assert "1000 bytes" in declared.json()["detail"]["msg"]
    assert worker.requests == []


async def test_bodies_past_the_common_budget_are_a_503() -> None:
    async with world(body_budget_bytes=1000) as here:
        answer = await here.client.post("/text-to-image", content=b"x" * 1001)

    assert code(answer) == (503, "body_budget")
    assert answer.headers["retry-after"]


async def test_a_caller_who_stops_sending_is_a_408() -> None:
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async with world(body_stall_seconds=0.01) as here:
        scope = {"type": "http", "method": "POST", "path": "/text-to-image", "headers": []}
        await here.app(scope, never, send)

    assert sent[0]["status"] == 408


async def test_a_cold_model_is_woken_once_and_its_jobs_are_served_when_it_is_ready() -> None:
    async with world() as here:
        jobs = [asyncio.create_task(here.post(json=JOB)) for _ in range(3)]
        await until(lambda: here.waiting == 3 and here.fleet.woken)
        await here.worker("w")
        answers = await asyncio.gather(*jobs)

    assert here.fleet.woken == ["m"]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.headers["stoker-cold-start"] for answer in answers} == {"true"}
    assert all(int(answer.headers["stoker-queue-ms"]) >= 0 for answer in answers)


async def test_a_cold_model_that_does_not_come_in_time_is_a_503() -> None:
    async with world(model(start_timeout=0.05)) as here:
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "start_timeout")
    assert answer.headers["retry-after"]


async def test_a_model_with_an_obstacle_is_a_503_with_its_reason() -> None:
    async with world(model(obstacle=Obstacle("ImageNotPullable", "no such image"))) as here:
        answer = await here.post(json=JOB)

    assert code(answer) == (503, "ImageNotPullable")


async def test_a_line_that_is_full_is_a_429() -> None:
    async with world(line_limit=1) as here:
        held = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting == 1)
        answer = await here.post(json=JOB)
        await here.worker("w")
        await held

    assert code(answer) == (429, "line_full")
    assert answer.headers["retry-after"] == "5"


async def test_never_more_jobs_than_its_capacity_reach_a_worker() -> None:
    now, most = 0, 0

    async def counting(_: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return web.json_response({})

    async with world() as here:
        await here.worker("w", counting, capacity=2)
        answers = await asyncio.gather(*[here.post(json=JOB) for _ in range(12)])

    assert {answer.status_code for answer in answers} == {200}
    assert most == 2


@pytest.mark.parametrize("loss", [die, draining])
async def test_a_worker_lost_before_its_first_byte_costs_a_second_try_elsewhere(loss: Behaviour) -> None:
    async with world() as here:
        lost, good = await here.worker("a", loss), await here.worker("b")
        answer = await here.post(json=JOB)

    assert answer.status_code == 200
    assert answer.headers["stoker-worker"] == "b"
    assert lost.requests[0][2] == good.requests[0][2]


async def test_a_job_that_lost_two_workers_is_a_502() -> None:
    async with world() as here:
        for identity in ("a", "b", "c"):
            await here.worker(identity, die)
        answer = await here.post(json=JOB)

    assert code(answer) == (502, "worker_lost")


async def test_a_worker_lost_in_the_middle_breaks_the_answer_off() -> None:
    async with world() as here:
        await here.worker("a", die_midway)
        good = await here.worker("b")
        with pytest.raises(Exception, match="in the middle of its answer"):
            await here.post(json=JOB)

    assert good.requests == []


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_workers_own_refusal_passes_through(status: int) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": {"msg": "no"}}, status=status)

    async with world() as here:
        await here.worker("w", refuse)
        other = await here.worker("x")
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.json()) == (status, {"detail": {"msg": "no"}})
    assert other.requests == []


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
        changes: Any = here.orchestrator.broker.changes()
        first = await anext(changes)
        second = asyncio.ensure_future(anext(changes))
        await here.worker("w")
        then = await second
        await changes.aclose()

    assert not first.capabilities[0].models[0].warm
    assert then.capabilities[0].models[0].warm
    assert then.generation > first.generation


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
        here.orchestrator.jobs.accepting = False
        stopping = await here.client.get("/readyz")
        refused = await here.post(json=JOB)

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


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"port": 0}, "port"), ({"namespace": ""}, "STOKER_NAMESPACE"), ({"fleet": "processes"}, "STOKER_MODELS_CONFIG")],
)
def test_a_bad_setting_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(**({"fleet": "kubernetes", "namespace": "n"} | settings))
