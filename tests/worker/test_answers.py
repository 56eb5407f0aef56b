"""How results go out: media types, seeds, and what may have changed a picture."""

import asyncio
import io
import threading
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import av
import numpy as np
import orjson
import pytest
from PIL import Image

from stoker_contracts.jobs import TextToImage
from stoker_worker.app import answers
from stoker_worker.app.answers import Answers
from stoker_worker.engine.protocol import Outcome, Output, Pixels, Row, Steps, Task
from stoker_worker.engine.stub import StubEngine, StubScript
from tests.support.waiting import until
from tests.worker.test_http import QUICK, Gate, settings, upload, worker

VIDEO = {"width": "64", "height": "64", "num_inference_steps": "1", "seed": "5"}


class Switched(StubEngine):
    """A stub with switches that change pictures."""

    def __init__(self, *switches: str) -> None:
        super().__init__(StubScript(step_seconds=0))
        self._switches = switches

    @property
    def lossy(self) -> tuple[str, ...]:
        return self._switches


async def picture(accept: str, *switches: str, **fields: Any) -> tuple[str, str | None, str | None, bytes]:
    """Media type, seed, what is lossy and body of a text-to-image job's answer."""
    async with worker(settings(), Switched(*switches)) as (client, _):
        answer = await client.post("/text-to-image", json=QUICK | fields, headers={"Accept": accept})
    headers = answer.headers
    return headers["content-type"], headers.get("stoker-seed"), headers.get("stoker-lossy"), answer.content


@pytest.mark.parametrize(
    ("media", "kind", "lossy"), [("image/png", "PNG", None), ("image/jpeg", "JPEG", "jpeg"), ("image/webp", "WEBP", "webp")]
)
async def test_who_names_a_format_gets_it_with_its_seed_and_is_told_what_is_lost(media: str, kind: str, lossy: str | None) -> None:
    content_type, seed, lost, body = await picture(media)

    assert (content_type, seed, lost) == (media, "3", lossy)
    assert Image.open(io.BytesIO(body)).format == kind


class Checked(StubEngine):
    """A stub whose checker blackens the pictures of some seeds."""

    def __init__(self, *seeds: int) -> None:
        super().__init__(StubScript(step_seconds=0))
        self._seeds = seeds

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        blackened = frozenset(number for number, row in enumerate(rows) if row.seed in self._seeds)
        return replace(super().run(rows, steps), nsfw=blackened)


async def test_each_picture_says_whether_it_was_blackened() -> None:
    async with worker(settings(), Checked(4)) as (client, _):
        answer = await client.post("/text-to-image", json=QUICK | {"num_images_per_prompt": 3})
        bare = [
            await client.post("/text-to-image", json=QUICK | {"seed": seed}, headers={"Accept": "image/png"}) for seed in (3, 4)
        ]

    assert [(each["seed"], each["nsfw"]) for each in answer.json()["images"]] == [(3, False), (4, True), (5, False)]
    assert [each.headers.get("stoker-nsfw") for each in bare] == [None, "true"]


async def test_a_lossy_picture_is_close_to_the_one_that_was_made() -> None:
    _, _, _, exact = await picture("image/png", width=256, height=256)
    made = np.asarray(Image.open(io.BytesIO(exact))).astype(int)
    for accept in ("image/jpeg", "image/webp"):
        _, _, _, body = await picture(accept, width=256, height=256)
        assert np.abs(np.asarray(Image.open(io.BytesIO(body)).convert("RGB")) - made).mean() < 3


@pytest.mark.parametrize("accept", ["application/json, image/png;q=0.9", "*/*", "image/png;q=0, */*", ""])
async def test_who_prefers_json_gets_json_without_loss(accept: str) -> None:
    content_type, seed, lost, _ = await picture(accept)

    assert (content_type, seed, lost) == ("application/json", None, None)


async def test_several_pictures_come_as_json_whatever_is_accepted() -> None:
    content_type, _, lost, _ = await picture("image/jpeg", num_images_per_prompt=2)

    assert (content_type, lost) == ("application/json", None)


@pytest.mark.parametrize(("accept", "lossy"), [("*/*", "bfloat16, compile"), ("image/jpeg", "bfloat16, compile, jpeg")])
async def test_an_answer_names_the_engines_switches_and_its_own_loss(accept: str, lossy: str) -> None:
    _, _, lost, _ = await picture(accept, "bfloat16", "compile")

    assert lost == lossy


async def test_an_error_has_lost_nothing() -> None:
    async with worker(settings(), Switched("bfloat16")) as (client, _):
        answer = await client.post("/text-to-image", json={})

    assert "stoker-lossy" not in answer.headers


@pytest.mark.parametrize("accept", ["video/mp4", "video/*", "application/json;q=0.5, video/mp4"])
async def test_a_video_comes_as_the_file_with_its_seed_for_who_accepts_it(accept: str) -> None:
    async with worker(settings("image-to-video")) as (client, _):
        answer = await client.post("/image-to-video", files=upload(), data=VIDEO, headers={"Accept": accept})

    assert (answer.headers["content-type"], answer.headers["stoker-seed"]) == ("video/mp4", "5")
    assert answer.headers["stoker-lossy"] == "h264"
    with av.open(io.BytesIO(answer.content), "r") as container:
        assert len(list(container.decode(video=0))) == 8


async def test_a_video_in_json_tells_what_is_lost_and_frames_lose_nothing() -> None:
    async with worker(settings("image-to-video")) as (client, _):
        clip = await client.post("/image-to-video", files=upload(), data=VIDEO | {"output_format": "mp4"})
        frames = await client.post("/image-to-video", files=upload(), data=VIDEO, headers={"Accept": "image/png"})

    assert clip.headers["stoker-lossy"] == "h264"
    assert b64decode(clip.json()["images"][0]["url"].split(",")[1])[4:8] == b"ftyp"
    assert "stoker-lossy" not in frames.headers
    assert {item["seed"] for item in frames.json()["frames"][0]} == {5}


async def test_the_next_job_begins_while_an_answer_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def encode(pixels: Pixels) -> bytes:
        begun.set()
        assert go_on.wait(10)
        return bytes(pixels[0, 0])

    monkeypatch.setitem(answers._PICTURES, "image/png", encode)
    engine = Gate()
    engine.open = True
    async with worker(settings(), engine) as (client, _):
        jobs = [asyncio.create_task(client.post("/text-to-image", json=QUICK | {"seed": 1}))]
        await until(begun.is_set)
        jobs.append(asyncio.create_task(client.post("/text-to-image", json=QUICK | {"seed": 2})))
        await until(lambda: engine.begun == [1, 2])
        go_on.set()

        assert [answer.status_code for answer in await asyncio.gather(*jobs)] == [200, 200]


async def test_pictures_of_one_answer_are_encoded_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=10)

    def encode(pixels: Pixels) -> bytes:
        both.wait()
        return bytes(pixels[0, 0])

    monkeypatch.setitem(answers._PICTURES, "image/png", encode)
    pictures: Sequence[Pixels] = [np.full((8, 8, 3), shade, np.uint8) for shade in (1, 2)]

    answer = await asyncio.wait_for(Answers().answer(Task(TextToImage(prompt="p"), 1), Output(list(pictures), [1, 2]), "", ()), 20)

    urls = [item["url"].partition(",")[2] for item in orjson.loads(answer.body)["images"]]
    assert urls == ["AQEB", "AgIC"], "each is there, in their order"
