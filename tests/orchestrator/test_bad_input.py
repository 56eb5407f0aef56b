"""What strangers send to the orchestrator: refused in words, nothing reaches a worker, and the next job is served."""

from typing import Any

import httpx2
import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.app.process import main
from tests.support.fleet import model
from tests.support.orchestrator import JOB, code, world
from tests.support.workers import echo

FORM = {"Content-Type": "multipart/form-data; boundary=x"}


async def outcome(**request: Any) -> httpx2.Response:
    """The answer to a request that no worker may see; a good job is served afterwards."""
    video = model("v", pipeline=Pipeline.IMAGE_TO_VIDEO, model_id="org/v")
    async with world(model(), model("n"), video, max_body_bytes=2**20) as here:
        worker = await here.worker("w", echo)
        answer = await here.client.post(request.pop("path", "/text-to-image"), **request)
        assert worker.requests == []
        assert (await here.post(json=JOB)).status_code == 200
        assert here.orchestrator.budget.used == 0
        assert here.orchestrator.jobs.in_flight == 0
    return answer


@pytest.mark.parametrize(
    ("request_parts", "expected", "words"),
    [
        ({"content": b""}, (400, "invalid_request"), "JSON"),
        ({"content": b"{"}, (400, "invalid_request"), "JSON"),
        ({"content": b"\xff"}, (400, "invalid_request"), "UTF-8"),
        ({"content": b"[" * 100_000}, (400, "invalid_request"), "JSON"),
        ({"json": ["org/m"]}, (400, "invalid_request"), "JSON object"),
        ({"json": {"model_id": 5}}, (400, "invalid_request"), "model_id must be a string"),
        ({"json": {"model_id": {"a": 1}}}, (400, "invalid_request"), "model_id must be a string"),
        ({"json": {"model_id": "x" * 5000}}, (404, "model_not_found"), "there are: org/m, org/n"),
        ({"json": {}, "headers": {"Stoker-Model": "org/é".encode()}}, (404, "model_not_found"), "there are"),
        ({"json": {}, "path": "/models//text-to-image"}, (404, "model_not_found"), "there are"),
        ({"json": {}, "path": "/models/..%2F..%2Fm/text-to-image"}, (404, "model_not_found"), ""),
        ({"content": b'{"prompt": "' + b"x" * 2**19 + b'"}'}, (413, "body_too_large"), "262144 bytes"),
        ({"content": b"x" * (2**20 + 1)}, (413, "body_too_large"), "1048576 bytes"),
        ({"json": {}, "path": "/image-to-video"}, (400, "invalid_request"), "multipart/form-data"),
        ({"content": b"junk", "headers": FORM, "path": "/image-to-video"}, (400, "invalid_request"), "not well-formed"),
        (
            {"data": {"model_id": "org/x"}, "files": {"image": ("a", b"x" * 500_000)}, "path": "/image-to-video"},
            (404, "model_not_found"),
            "there are: org/v",
        ),
        (
            {"data": {"model_id": ""}, "files": {"image": ("a", b"x")}, "path": "/image-to-video"},
            (400, "invalid_request"),
            "model_id must name a model; there are: org/v",
        ),
    ],
)
async def test_a_bad_request_is_refused_in_words_and_reaches_no_worker(
    request_parts: dict[str, Any], expected: tuple[int, str], words: str
) -> None:
    answer = await outcome(**request_parts)

    assert code(answer) == expected
    assert words in answer.json()["detail"]["msg"]
    assert answer.headers["stoker-request-id"]


@pytest.mark.parametrize("field", ["width", "height", "num_inference_steps", "num_images_per_prompt"])
@pytest.mark.parametrize("value", ["wide", -1, 0, 10**12, 10**300, True, None, [1], {"a": 1}, "nan", "1e999"])
async def test_a_bad_field_does_not_disturb_routing_and_is_the_workers_to_refuse(field: str, value: Any) -> None:
    async with world() as here:
        worker = await here.worker("w")
        answer = await here.post(json=JOB | {field: value})
        work = [endpoint.work for endpoint in here.orchestrator.broker.registry.endpoints]

    assert answer.status_code == 200
    assert len(worker.requests) == 1
    assert work == [0.0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STOKER_PORT", "0"),
        ("STOKER_PORT", "http"),
        ("STOKER_FLEET", "swarm"),
        ("STOKER_MAX_BODY_BYTES", "-1"),
        ("STOKER_BODY_BUDGET_BYTES", "much"),
        ("STOKER_BODY_STALL_SECONDS", "0"),
        ("STOKER_LINE_LIMIT", "0"),
        ("STOKER_DRAIN_SECONDS", "-1"),
        ("STOKER_LOG_LEVEL", "LOUD"),
        ("STOKER_WORKER_ENGINE", "magic"),
        ("STOKER_WORKER_ENV", "{"),
        ("STOKER_WORKER_START_SECONDS", "0"),
        ("STOKER_NAMESPACE", ""),
    ],
)
def test_a_bad_setting_ends_the_start_with_the_name_of_its_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOKER_NAMESPACE", "n")
    monkeypatch.setenv(variable, value)

    assert main() == 2
    assert variable in capsys.readouterr().err
