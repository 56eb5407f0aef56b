"""The worker's HTTP API over the stub engine, in process."""

import asyncio
import io
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from stoker_contracts.pipelines import Pipeline
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.scheduler import Rules, Scheduler
from stoker_worker.app.server import create_app
from stoker_worker.app.settings import Settings
from stoker_worker.engine.protocol import FatalEngineError, Outcome, Row, Steps
from stoker_worker.engine.stub import StubEngine, StubScript
from tests.support.decoding import DECODERS
from tests.support.waiting import until

QUICK = {"prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 1, "seed": 3}


def settings(pipeline: str = "text-to-image", **others: Any) -> Settings:
    return Settings(pipeline=Pipeline(pipeline), model_id="org/model", engine="stub", **others)


@asynccontextmanager
async def worker(given: Settings, engine: StubEngine | None = None) -> AsyncIterator[tuple[httpx2.AsyncClient, Scheduler]]:
    """A client of a worker whose model is loaded."""
    engine = engine or StubEngine(StubScript(step_seconds=0))
    failures: list[FatalEngineError] = []
    rules = Rules(given.max_batch, given.step_timeout_seconds, given.park_after_seconds)
    scheduler = Scheduler(engine, given.capacity, metrics := Metrics(), failures.append, rules)
    scheduler.start()
    transport = httpx2.ASGITransport(create_app(given, engine, scheduler, metrics, DECODERS))
    async with httpx2.AsyncClient(transport=transport, base_url="http://worker") as client:
        await until(lambda: scheduler.readiness().ready)
        yield client, scheduler


class Gate(StubEngine):
    """A stub that begins a job, says so, and goes on when it is let."""

    def __init__(self) -> None:
        super().__init__(StubScript(step_seconds=0))
        self.begun: list[int] = []
        self.open = False

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        self.begun.append(rows[0].seed)
        while not self.open:
            steps.stepped()
        return super().run(rows, steps)


def png_of(item: dict[str, Any]) -> Image.Image:
    kind, data = item["url"].split(",", 1)
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(b64decode(data)))


async def test_a_prompt_becomes_pictures_with_seeds_that_count_up() -> None:
    async with worker(settings()) as (client, _):
        answer = await client.post("/text-to-image", json=QUICK | {"num_images_per_prompt": 2})

    images = answer.json()["images"]
    assert [(each["seed"], each["nsfw"], png_of(each).size) for each in images] == [(3, False, (64, 64)), (4, False, (64, 64))]


async def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    async with worker(settings()) as (client, _):
        first, again, other = [(await client.post("/text-to-image", json=QUICK | {"seed": seed})).content for seed in (3, 3, 5)]

    assert first == again
    assert first != other


async def test_an_absent_seed_is_drawn_and_told() -> None:
    async with worker(settings()) as (client, _):
        answers = [await client.post("/text-to-image", json={k: v for k, v in QUICK.items() if k != "seed"}) for _ in range(2)]

    assert answers[0].json()["images"][0]["seed"] != answers[1].json()["images"][0]["seed"]


async def test_who_accepts_a_png_gets_the_bytes() -> None:
    async with worker(settings()) as (client, _):
        answer = await client.post("/text-to-image/", json=QUICK, headers={"Accept": "image/png"})

    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)


def upload(size: tuple[int, int] = (64, 48)) -> dict[str, Any]:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "PNG")
    return {"image": ("in.png", out.getvalue(), "image/png")}


async def test_an_image_job_has_the_size_of_its_image() -> None:
    async with worker(settings("image-to-image")) as (client, _):
        answer = await client.post("/image-to-image", data={"prompt": "p", "num_inference_steps": "2"}, files=upload())

    assert png_of(answer.json()["images"][0]).size == (64, 48)


@pytest.mark.parametrize("how", [{"data": {"output_format": "mp4"}}, {"headers": {"Stoker-Output-Format": "mp4"}}])
async def test_a_video_comes_as_one_mp4_for_who_asks_for_it(how: dict[str, Any]) -> None:
    how["data"] = how.get("data", {}) | {"width": "64", "height": "64"}
    async with worker(settings("image-to-video")) as (client, _):
        answer = await client.post("/image-to-video", files=upload(), **how)

    (item,) = answer.json()["images"]
    assert item["url"].startswith("data:video/mp4;base64,")
    assert b"ftyp" in b64decode(item["url"].split(",")[1])[:16]


async def test_a_video_comes_as_frames_as_livepeers_runner_sends_it() -> None:
    async with worker(settings("image-to-video")) as (client, _):
        answer = await client.post("/image-to-video", files=upload(), data={"width": "64", "height": "64"})

    (frames,) = answer.json()["frames"]
    assert {png_of(each).size for each in frames} == {(64, 64)}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "prompt"),
        ({"prompt": ""}, 400, "Prompt must be provided."),
        (QUICK | {"width": 63}, 400, "divisible by 8"),
        (QUICK | {"width": 0}, 422, "greater than or equal to 8"),
        (QUICK | {"num_inference_steps": 201}, 400, "at most 200"),
        (QUICK | {"num_inference_steps": 10**9}, 422, "less than or equal to 500"),
        (QUICK | {"num_images_per_prompt": 9}, 400, "at most 8"),
        (QUICK | {"guidance_scale": "much"}, 422, "valid number"),
        (QUICK | {"model_id": "other"}, 400, "called with other"),
        (QUICK | {"seed": None}, 422, "seed must be an integer"),
        ([1, 2], 400, "JSON object"),
    ],
)
async def test_a_bad_field_is_refused_with_its_limit_and_the_worker_lives(body: Any, status: int, words: str) -> None:
    async with worker(settings()) as (client, _):
        answer = await client.post("/text-to-image", json=body)
        after = await client.post("/text-to-image", json=QUICK)

    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert after.status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 50_000, b"x" * 300_000])
async def test_a_body_that_is_no_json_is_a_400(body: bytes) -> None:
    async with worker(settings()) as (client, _):
        answer = await client.post("/text-to-image", content=body)

    assert answer.status_code == 400
    assert answer.json()["detail"]["msg"]


@pytest.mark.parametrize(
    "request_parts",
    [
        {"data": {"prompt": "p"}},
        {"data": {"image": "text"}},
        {"data": {"prompt": "p"}, "files": {"image": ("x.png", b"no picture", "image/png")}},
        {"data": {"prompt": "p"}, "files": upload() | {"second": ("y.png", b"", "image/png")}},
        {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"data": {f"field{number}": "x" for number in range(40)}, "files": upload()},
    ],
)
async def test_a_broken_form_is_a_400(request_parts: dict[str, Any]) -> None:
    async with worker(settings("image-to-image")) as (client, _):
        answer = await client.post("/image-to-image", **request_parts)

    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]["msg"]


async def test_only_the_route_of_the_loaded_pipeline_exists() -> None:
    async with worker(settings()) as (client, _):
        wrong_route = await client.post("/image-to-video", json=QUICK)
        wrong_method = await client.get("/text-to-image")

    assert (wrong_route.status_code, wrong_method.status_code) == (404, 405)
    assert wrong_route.json()["error"]["type"] == "model_not_found"


async def test_a_token_is_asked_for_when_one_is_set() -> None:
    async with worker(settings(auth_token="s3cret")) as (client, _):
        refused = await client.post("/text-to-image", json=QUICK)
        taken = await client.post("/text-to-image", json=QUICK, headers={"Authorization": "Bearer s3cret"})
        health = await client.get("/health")

    assert (refused.status_code, taken.status_code, health.status_code) == (401, 200, 200)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "s3cret" not in refused.text


async def test_a_full_worker_says_so_and_stays_ready() -> None:
    engine = Gate()
    async with worker(settings(), engine) as (client, _):
        running = asyncio.create_task(client.post("/text-to-image", json=QUICK))
        await until(lambda: engine.begun)
        refused = await client.post("/text-to-image", json=QUICK)
        ready = await client.get("/ready")
        engine.open = True
        done = await running

    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "worker_full")
    assert ready.json() | {"steps": 0} == {"ready": True, "state": "ready", "in_flight": 1, "capacity": 1, "steps": 0}
    assert ready.json()["steps"] > 0, "a worker at work makes steps"
    assert done.status_code == 200


async def test_a_draining_worker_is_not_ready_finishes_its_jobs_and_takes_none() -> None:
    engine = Gate()
    async with worker(settings(capacity=2), engine) as (client, scheduler):
        jobs = [asyncio.create_task(client.post("/text-to-image", json=QUICK)) for _ in range(2)]
        await until(lambda: scheduler.readiness().in_flight == 2)
        scheduler.drain()
        refused = await client.post("/text-to-image", json=QUICK)
        ready = await client.get("/ready")
        engine.open = True
        await scheduler.idle()

    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "worker_draining")
    assert (ready.status_code, ready.json()["state"]) == (503, "draining")
    assert [job.result().status_code for job in await asyncio.gather(*[_done(job) for job in jobs])] == [200, 200]


async def _done(job: "asyncio.Task[httpx2.Response]") -> "asyncio.Task[httpx2.Response]":
    await job
    return job


async def test_out_of_memory_fails_its_job_and_no_other() -> None:
    engine = StubEngine(StubScript(step_seconds=0, fault="out_of_memory", fault_at_step=5))
    async with worker(settings(), engine) as (client, _):
        failed = await client.post("/text-to-image", json=QUICK | {"num_inference_steps": 5})
        after = await client.post("/text-to-image", json=QUICK)

    assert (failed.status_code, failed.json()["error"]["type"]) == (500, "out_of_memory")
    assert after.status_code == 200


async def test_who_says_how_much_time_it_has_is_told_when_that_is_over_before_its_job_begins() -> None:
    engine = Gate()
    async with worker(settings(capacity=2), engine) as (client, _):
        running = asyncio.create_task(client.post("/text-to-image", json=QUICK))
        await until(lambda: engine.begun)
        late = await client.post("/text-to-image", json=QUICK, headers={"Stoker-Timeout": "0.1"})
        engine.open = True
        in_time = await client.post("/text-to-image", json=QUICK, headers={"Stoker-Timeout": "60"})
        await running

    assert (late.status_code, late.json()["error"]["type"]) == (500, "deadline_exceeded")
    assert late.json()["detail"]["msg"] == "the caller's time is over"
    assert in_time.status_code == 200


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf", "86401", ""])
async def test_a_time_that_is_no_time_is_refused_in_words(given: str) -> None:
    async with worker(settings()) as (client, _):
        answer = await client.post("/text-to-image", json=QUICK, headers={"Stoker-Timeout": given})

    assert answer.status_code == 400
    assert "Stoker-Timeout must be a number of seconds" in answer.json()["detail"]["msg"]


async def test_service_routes_answer_as_livepeers_runner_does() -> None:
    async with worker(settings()) as (client, _):
        bodies = {
            path: (await client.get(path)).json() for path in ("/health", "/version", "/hardware/info", "/hardware/stats", "/live")
        }
        metrics = (await client.get("/metrics")).text

    assert bodies["/health"] == {"status": "IDLE"}
    assert bodies["/version"].pop("start_seconds").keys() == {"weights", "total"}
    assert bodies["/version"] == {"pipeline": "text-to-image", "model_id": "org/model", "version": "0.1.0"}
    assert bodies["/hardware/info"]["gpu_info"] == {}
    assert bodies["/live"] == {"live": True}
    assert "stoker_worker_load_seconds" in metrics


def test_a_bad_setting_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="capacity"):
        settings(capacity=0)
    with pytest.raises(ValueError, match="known: bfloat16, channels-last"):
        settings(optimization="warp")
