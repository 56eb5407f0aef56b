"""Callers who ask for server-sent events hear that their job waits, and get their answer as an event."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from stoker_orchestrator.app import event_stream
from tests.support.orchestrator import JOB, code, world
from tests.support.waiting import until
from tests.support.workers import die

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def quick_hearts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart beats after hundredths of a second."""
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.02)


def read(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, as a browser reads them."""
    events = []
    for block in text.split("\n\n")[:-1]:
        fields = [line.split(": ", 1) for line in block.split("\n")]
        data = "\n".join(value for name, value in fields if name == "data")
        events.append((dict(fields)["event"], json.loads(data)))
    return events


async def pretty(request: web.Request) -> web.StreamResponse:
    """JSON with line breaks, in two parts."""
    response = web.StreamResponse(headers={"content-type": "application/json"})
    await response.prepare(request)
    await response.write(b'{\r\n  "accept": "')
    await response.write(request.headers.get("accept", "none").encode() + b'",\n "images": []\n}\n')
    return response


async def test_a_job_that_waits_is_heard_of_until_its_answer_comes() -> None:
    async with world() as here:
        job = asyncio.create_task(here.post(json=JOB, headers=EVENTS))
        await until(lambda: here.aged(0.1))
        await here.worker("w", pretty)
        answer = await job

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["stoker-request-id"]
    *waits, (kind, result) = read(answer.text)
    assert len(waits) >= 2
    assert waits[0] == ("waiting", {"jobs_waiting": 1, "estimated_wait_ms": waits[0][1]["estimated_wait_ms"]})
    assert (kind, result["status"], result["body"]["images"]) == ("result", 200, [])
    assert result["headers"]["stoker-worker"] == "w"
    assert "text/event-stream" not in result["body"]["accept"], "the worker answers JSON"


async def test_a_job_that_is_served_at_once_is_one_event() -> None:
    async with world() as here:
        await here.worker("w")
        answer = await here.post(json=JOB, headers=EVENTS)

    assert [(kind, event["status"]) for kind, event in read(answer.text)] == [("result", 200)]


async def test_a_job_that_is_refused_before_it_waited_is_refused_with_its_status() -> None:
    async with world(line_limit=1) as here:
        held = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.waiting == 1)
        answer = await here.post(json=JOB, headers=EVENTS)
        await here.worker("w")
        await held

    assert code(answer) == (429, "line_full")
    assert answer.headers["retry-after"]


async def test_an_error_after_heartbeats_comes_as_an_event() -> None:
    async with world() as here:
        job = asyncio.create_task(here.post(json=JOB, headers=EVENTS))
        await until(lambda: here.aged(0.1))
        for identity in "ab":
            await here.worker(identity, die)
        answer = await job

    *waits, (kind, error) = read(answer.text)
    assert waits
    assert (kind, error["status"], error["body"]["error"]["code"]) == ("error", 502, "job_ends_workers")


@pytest.mark.parametrize(
    ("kind", "parts", "body"),
    [
        ("text/html; charset=utf-8", [b'<p class="a">\r\n', "sö".encode()[:2], "sö".encode()[2:]], '<p class="a">\r\nsö'),
        ("text/plain", [b"\xff\xc3"], "\ufffd\ufffd"),
        ("text/plain", [], None),
        ("application/json", [], None),
        ("application/problem+json; charset=utf-8", [b"{", b'"a": 1}'], {"a": 1}),
    ],
)
async def test_an_answer_of_any_kind_makes_an_event_that_can_be_read(kind: str, parts: list[bytes], body: Any) -> None:
    async def behaviour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500, headers={"content-type": kind})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        return response

    async with world() as here:
        job = asyncio.create_task(here.post(json=JOB, headers=EVENTS))
        await until(lambda: here.aged(0.05))
        await here.worker("w", behaviour)
        answer = await job

    *_, (name, error) = read(answer.text)
    assert (name, error["status"], error["body"]) == ("error", 500, body)
