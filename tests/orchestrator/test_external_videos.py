"""Frames of external containers, which reach callers as one video."""

import base64
import json
from typing import Any

import pytest

from tests.support.external_jobs import VIDEO, saying, served, video
from tests.support.frames import answered, looked_at, picture
from tests.support.orchestrator import code
from tests.support.runners import FakeRunner


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
