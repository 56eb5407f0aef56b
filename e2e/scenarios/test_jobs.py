"""Real pipelines in real pods: what a caller gets."""

import io
import struct
from base64 import b64decode
from collections.abc import Iterator

import av
import httpx2
import pytest
from PIL import Image

from e2e.release import Release
from e2e.scenarios.resources import JOB, model_deployment, offers
from tests.support.waiting import eventually

SIDE = 64
PIPELINES = ("text-to-image", "image-to-image", "image-to-video")


@pytest.fixture(scope="module")
def caller(real: Release) -> Iterator[httpx2.Client]:
    """With the three tiny models applied by hand: one is warm, two start on their first job."""
    for pipeline in PIPELINES:
        warm = pipeline == "text-to-image"
        real.apply(model_deployment(pipeline, pipeline=pipeline, modelId=f"stoker/tiny-{pipeline}", warm=warm))
    with httpx2.Client(base_url=real.url, timeout=240) as client:
        eventually(lambda: offers(client).get("stoker/tiny-text-to-image"), seconds=120)
        yield client


@pytest.fixture(scope="module")
def picture(caller: httpx2.Client) -> bytes:
    """What the text-to-image model makes of a prompt."""
    return png(caller.post("/text-to-image", json=JOB | {"model_id": "stoker/tiny-text-to-image"}))


def png(answer: httpx2.Response) -> bytes:
    """The picture in an answer."""
    assert answer.status_code == httpx2.codes.OK, answer.text
    kind, _, data = answer.json()["images"][0]["url"].partition(";base64,")
    assert kind == "data:image/png"
    return b64decode(data)


def test_a_prompt_becomes_a_picture_of_the_asked_size(picture: bytes) -> None:
    with Image.open(io.BytesIO(picture)) as image:
        image.load()

        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIDE, SIDE))


def test_the_same_seed_gives_the_same_bytes(caller: httpx2.Client, picture: bytes) -> None:
    again = png(caller.post("/text-to-image", json=JOB | {"model_id": "stoker/tiny-text-to-image"}))
    other = png(caller.post("/text-to-image", json=JOB | {"model_id": "stoker/tiny-text-to-image", "seed": 8}))

    assert again == picture
    assert other != picture


def test_a_picture_becomes_another_of_its_size_by_a_cold_model(caller: httpx2.Client, picture: bytes) -> None:
    fields = {
        "model_id": "stoker/tiny-image-to-image",
        "prompt": "blue",
        "strength": "0.6",
        "num_inference_steps": "4",
        "seed": "7",
    }

    answer = caller.post("/image-to-image", data=fields, files={"image": ("in.png", picture, "image/png")})

    assert struct.unpack(">II", png(answer)[16:24]) == (SIDE, SIDE)
    assert answer.headers["Stoker-Cold-Start"] == "true"


def test_a_picture_becomes_a_clip_of_the_asked_size_by_a_cold_model(caller: httpx2.Client, picture: bytes) -> None:
    fields = {"model_id": "stoker/tiny-image-to-video", "width": "64", "height": "64", "fps": "4", "num_inference_steps": "2"}

    answer = caller.post("/image-to-video", data=fields, files={"image": ("in.png", picture, "image/png")})

    assert answer.status_code == httpx2.codes.OK, answer.text
    kind, _, data = answer.json()["images"][0]["url"].partition(";base64,")
    assert kind == "data:video/mp4"
    with av.open(io.BytesIO(b64decode(data)), mode="r") as clip:
        frames = list(clip.decode(video=0))
    assert {(frame.width, frame.height) for frame in frames} == {(SIDE, SIDE)}
    assert len(frames) > 1
