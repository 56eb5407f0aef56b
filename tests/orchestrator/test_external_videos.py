"""Frames of external containers, which reach callers as one video."""

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import web

from stoker_orchestrator.adapters.clips.encoder import Clip, ClipEncoder
from tests.support.external_jobs import FILES, FORM, VIDEO, saying, served, video
from tests.support.frames import answered, looked_at, picture
from tests.support.orchestrator import code
from tests.support.runners import FakeRunner
from tests.support.waiting import until


async def test_frames_reach_the_caller_as_one_mp4_of_the_speed_that_the_form_asks_for() -> None:
    frames = answered(*[picture(shade=shade) for shade in range(0, 250, 50)], seed=11)
    async with served(FakeRunner(saying(200, frames)), **VIDEO) as here:
        answer = await video(here)
        raw = await video(here, Accept="video/mp4")

    (item,) = answer.json()["images"]
    assert (item["seed"], item["nsfw"]) == (11, False)
    kind, _, data = item["url"].partition(",")
    assert kind == "data:video/mp4;base64"
    assert looked_at(base64.b64decode(data)) == (64, 48, 5, 12)
    assert (raw.headers["content-type"], raw.headers["stoker-seed"]) == ("video/mp4", "11")
    assert answer.headers["stoker-lossy"] == raw.headers["stoker-lossy"] == "h264"
    assert looked_at(raw.content) == (64, 48, 5, 12)


@pytest.mark.parametrize(("said", "fps"), [("0024", 24), ("0024999", 6), ("61", 6), ("0", 6), ("24.0", 6)])
async def test_a_speed_that_makes_no_sense_is_the_runners_own(said: str, fps: int) -> None:
    async with served(FakeRunner(saying(200, answered(picture()))), **VIDEO) as here:
        answer = await here.post("/image-to-video", data=FORM | {"fps": said}, files=FILES, headers={"Accept": "video/mp4"})

    assert looked_at(answer.content) == (64, 48, 1, fps)


async def test_frames_that_make_no_video_are_an_error_in_words() -> None:
    async with served(FakeRunner(saying(200, answered("https://host/frame.png"))), **VIDEO) as here:
        answer = await video(here)

    assert code(answer) == (502, "frames_unusable")
    assert "frame 1 is no PNG or JPEG as a data URL" in answer.json()["detail"]["msg"]
    assert "host" not in answer.text


@pytest.mark.parametrize(
    "body", [{"images": [{"url": "data:video/mp4;base64,AAAA", "seed": 1, "nsfw": False}]}, {}, {"a": "b" * 300_000}]
)
async def test_an_answer_that_is_a_video_already_passes_untouched(body: Any) -> None:
    async with served(FakeRunner(saying(200, body)), **VIDEO) as here:
        answer = await video(here)

    assert answer.text == json.dumps(body)


async def test_frames_of_a_caller_who_left_while_they_waited_to_be_made_a_clip_reach_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = asyncio.Event()

    async def no_place(*_: Any) -> Clip:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def in_two_chunks(request: web.Request) -> web.StreamResponse:
        body = json.dumps(answered(picture(), picture())).encode()
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(body[:100])
        await response.write(body[100:])
        return response

    monkeypatch.setattr(ClipEncoder, "encode", no_place)
    runner = FakeRunner(in_two_chunks)
    async with served(runner, **VIDEO) as here:
        left = asyncio.create_task(video(here))
        await waiting.wait()
        left.cancel()
        await until(lambda: not here.orchestrator.jobs.in_flight)
        runner.behaviour = saying(200, {"images": []})
        answer = await video(here)

    assert answer.json() == {"images": []}
