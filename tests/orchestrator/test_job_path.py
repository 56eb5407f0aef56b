"""Which model a request means, and how its body travels, over real HTTP to workers on loopback."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.app.body import MEMORY_BYTES, SpareFiles
from tests.support.fleet import model
from tests.support.orchestrator import JOB, code, world
from tests.support.raw import Caller, request


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


@pytest.mark.parametrize("asked", [{}, {"Stoker-Model": "org/m"}])
async def test_what_a_worker_says_of_its_answer_reaches_the_caller_and_nothing_else_does(asked: dict[str, str]) -> None:
    told = {"Stoker-Seed": "7", "Stoker-Nsfw": "true", "Stoker-Lossy": "bfloat16, jpeg", "Content-Type": "image/jpeg"}
    said = told | {"Server": "x", "X-Path": "/models"}

    async def answered(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"picture", headers=said)

    async with world() as here:
        await here.worker("w", answered)
        answer = await here.post(json=JOB, headers=asked)

    assert answer.content == b"picture"
    assert {name: answer.headers.get(name) for name in said} == told | {"Server": None, "X-Path": None}


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
        budget = here.orchestrator.budget.used

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


class FullDisk(SpareFiles):
    """Files that take nothing."""

    def open(self) -> int:
        return os.open("/dev/full", os.O_RDWR)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_for_which_the_disk_has_no_room_is_a_503_and_not_its_callers_fault(*, declared: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * MEMORY_BYTES

    async with world() as here:
        await here.worker("w")
        here.orchestrator.budget.files = FullDisk()
        content = b"x" * 2 * MEMORY_BYTES if declared else chunks()
        answer = await here.client.post("/models/m/text-to-image", content=content)
        after = await here.post(json=JOB)

    assert code(answer) == (503, "disk_full")
    assert answer.headers["retry-after"]
    assert after.status_code == 200


async def test_a_caller_who_stops_sending_is_a_408() -> None:
    async with world(body_stall_seconds=0.01) as here, Caller(here.url) as caller:
        caller.say(request(body=b"{", length=100))
        answer = await caller.answer()

    assert (answer.status, answer.code) == (408, "stalled")
    assert answer.headers["connection"] == "close"
