"""Every field of every pipeline's job, and every kind of hostile picture, over HTTP: refused in words, and the worker lives on."""

import io
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from stoker_contracts.jobs import MAX_PROMPT_BYTES
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_contracts.uploads import MAX_UPLOAD_BYTES
from stoker_worker.app.requests import MAX_FORM_BYTES
from tests.worker.test_http import settings, worker

T2I, I2I, I2V = Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_IMAGE, Pipeline.IMAGE_TO_VIDEO
GOOD: dict[Pipeline, dict[str, Any]] = {
    T2I: {"prompt": "p", "width": 64, "height": 64, "num_inference_steps": 1},
    I2I: {"prompt": "p", "num_inference_steps": 2},
    I2V: {"width": 64, "height": 64, "num_inference_steps": 1},
}
ABSENT = object()


def picture(size: tuple[int, int] = (64, 64), kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, kind, **options)
    return out.getvalue()


async def send(client: httpx2.AsyncClient, pipeline: Pipeline, fields: dict[str, Any], image: bytes = picture()) -> httpx2.Response:
    route = FACTS[pipeline].route
    if not FACTS[pipeline].takes_image:
        return await client.post(route, json=fields)
    data = {key: str(value) for key, value in fields.items()}
    return await client.post(route, data=data, files={"image": ("x", image, "image/png")})


async def refused(pipeline: Pipeline, fields: dict[str, Any], image: bytes = picture()) -> tuple[int, str]:
    """Status and words of a job that is refused by a worker that is idle and serves a good job afterwards."""
    async with worker(settings(pipeline.value)) as (client, _):
        answer = await send(client, pipeline, fields, image)
        health = (await client.get("/health")).json()
        after = await send(client, pipeline, GOOD[pipeline])

    assert health == {"status": "IDLE"}
    assert after.status_code == 200, after.text
    body = answer.json()
    assert body["detail"]
    assert body["error"]["type"] == "invalid_request"
    return answer.status_code, body["error"]["message"]


PROMPTED: list[tuple[str, Any, int, str]] = [
    ("prompt", ABSENT, 422, "prompt: Field required"),
    ("prompt", "", 400, "Prompt must be provided"),
    ("prompt", "x" * (MAX_PROMPT_BYTES + 1), 422, "at most 8192"),
    ("prompt", "€" * (MAX_PROMPT_BYTES // 2), 422, "at most 8192 bytes"),
    ("negative_prompt", "x" * (MAX_PROMPT_BYTES + 1), 422, "at most 8192"),
    ("guidance_scale", "much", 422, "guidance_scale: Input should be a valid number"),
    ("guidance_scale", -0.1, 422, "greater than or equal to 0"),
    ("guidance_scale", 50.1, 422, "less than or equal to 50"),
    ("guidance_scale", "nan", 422, "finite number"),
    ("num_images_per_prompt", 0, 422, "greater than or equal to 1"),
    ("num_images_per_prompt", 17, 422, "less than or equal to 16"),
    ("num_images_per_prompt", 9, 400, "at most 8"),
    ("num_images_per_prompt", "two", 422, "valid integer"),
]
COMMON: list[tuple[str, Any, int, str]] = [
    ("model_id", "x" * 257, 422, "at most 256"),
    ("model_id", "org/other", 400, "called with org/other"),
    ("safety_check", "perhaps", 422, "valid boolean"),
    ("seed", -1, 422, "greater than or equal to 0"),
    ("seed", 2**32, 422, "less than or equal to 4294967295"),
    ("seed", 10**30, 422, "seed: "),
    ("seed", 1.5, 422, "valid integer"),
    ("seed", "lucky", 422, "valid integer"),
    ("num_inference_steps", -1, 422, "greater than or equal to 0"),
    ("num_inference_steps", 501, 422, "less than or equal to 500"),
    ("num_inference_steps", 201, 400, "at most 200"),
    ("num_inference_steps", 2.5, 422, "valid integer"),
]
SIZED: list[tuple[str, Any, int, str]] = [
    ("width", 0, 422, "greater than or equal to 8"),
    ("width", -64, 422, "greater than or equal to 8"),
    ("width", 4097, 422, "less than or equal to 4096"),
    ("width", 65, 400, "divisible by 8"),
    ("width", "wide", 422, "valid integer"),
    ("height", 7, 422, "greater than or equal to 8"),
    ("height", 4104, 422, "less than or equal to 4096"),
    ("height", 60, 400, "divisible by 8"),
]
FIELDS: list[tuple[Pipeline, str, Any, int, str]] = [
    *((T2I, *case) for case in PROMPTED + COMMON + SIZED),
    (T2I, "prompt", 5, 422, "valid string"),
    (T2I, "prompt", None, 422, "valid string"),
    (T2I, "prompt", ["p"], 422, "valid string"),
    (T2I, "negative_prompt", 5, 422, "valid string"),
    (T2I, "model_id", 5, 422, "valid string"),
    (T2I, "seed", None, 422, "seed must be an integer"),
    (T2I, "safety_check", None, 422, "valid boolean"),
    (T2I, "width", None, 422, "valid integer"),
    (T2I, "width", {"px": 64}, 422, "valid integer"),
    *((I2I, *case) for case in PROMPTED + COMMON),
    (I2I, "strength", 0, 422, "greater than 0"),
    (I2I, "strength", 1.01, 422, "less than or equal to 1"),
    (I2I, "strength", "inf", 422, "finite number"),
    (I2I, "strength", 0.4, 400, "must be at least 1"),
    (I2I, "image_guidance_scale", -1, 422, "greater than or equal to 0"),
    (I2I, "image_guidance_scale", 51, 422, "less than or equal to 50"),
    *((I2V, *case) for case in COMMON + SIZED),
    (I2V, "fps", 0, 422, "greater than or equal to 1"),
    (I2V, "fps", 61, 422, "less than or equal to 60"),
    (I2V, "motion_bucket_id", 0, 422, "greater than or equal to 1"),
    (I2V, "motion_bucket_id", 256, 422, "less than or equal to 255"),
    (I2V, "noise_aug_strength", -0.1, 422, "greater than or equal to 0"),
    (I2V, "noise_aug_strength", 1.1, 422, "less than or equal to 1"),
    (I2V, "noise_aug_strength", "nan", 422, "finite number"),
    (I2V, "output_format", "avi", 422, "'frames' or 'mp4'"),
]


@pytest.mark.parametrize(
    ("pipeline", "field", "value", "status", "words"),
    FIELDS,
    ids=lambda value: value if isinstance(value, str) and len(value) < 24 else "",
)
async def test_a_bad_field_is_refused_in_words_with_its_limit(
    pipeline: Pipeline, field: str, value: Any, status: int, words: str
) -> None:
    fields = GOOD[pipeline] | {field: value}
    if value is ABSENT:
        del fields[field]

    got, said = await refused(pipeline, fields)

    assert (got, words in said) == (status, True), said


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 4096, "height": 4096},
        {"width": 2048, "height": 2048, "num_images_per_prompt": 2},
    ],
)
async def test_more_pixels_than_the_model_takes_are_refused_with_the_limit(fields: dict[str, int]) -> None:
    status, said = await refused(T2I, GOOD[T2I] | fields)

    assert (status, "at most 4194304 in all" in said) == (400, True), said


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), shade) for shade in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


HOSTILE = {
    "nothing": (b"", "cannot be read"),
    "text": (b"<html>", "PNG, JPEG, WEBP"),
    "truncated png": (picture((256, 256))[:200], "cannot be read"),
    "truncated jpeg": (picture((256, 256), "JPEG")[:700], "cannot be read"),
    "truncated webp": (picture((256, 256), "WEBP")[:60], "cannot be read"),
    "gif": (picture(kind="GIF"), "PNG, JPEG, WEBP"),
    "bmp": (picture(kind="BMP"), "PNG, JPEG, WEBP"),
    "tiff": (picture(kind="TIFF"), "PNG, JPEG, WEBP"),
    "bomb": (claiming(60_000, 60_000), "at most 16000000"),
    "too many pixels": (claiming(4008, 4000), "at most 16000000"),
    "0x0": (claiming(0, 0), "cannot be read"),
    "1x1": (picture((1, 1)), "at least 8"),
    "thin": (picture((64, 7)), "at least 8"),
    "animated png": (animated("PNG"), "animated"),
    "animated webp": (animated("WEBP"), "animated"),
    "too many bytes": (b"\x89PNG\r\n\x1a\n" + b"x" * MAX_UPLOAD_BYTES, f"at most {MAX_UPLOAD_BYTES}"),
    "more than a form may hold": (b"x" * MAX_FORM_BYTES, f"larger than {MAX_FORM_BYTES} bytes"),
    "torn exif": (picture(kind="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1\x12" * 40)[:-2], ""),
}


@pytest.mark.parametrize("pipeline", [I2I, I2V])
@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "torn exif"])
async def test_a_hostile_picture_is_refused_in_words(pipeline: Pipeline, name: str) -> None:
    image, words = HOSTILE[name]

    status, said = await refused(pipeline, GOOD[pipeline], image)

    assert (status, words in said) == (400, True), said


async def test_torn_exif_is_a_picture_or_a_refusal() -> None:
    async with worker(settings(I2I.value)) as (client, _):
        answer = await send(client, I2I, GOOD[I2I], HOSTILE["torn exif"][0])

    assert answer.status_code in (200, 400)


async def test_a_picture_of_odd_size_is_refused_where_the_result_takes_its_size() -> None:
    status, said = await refused(I2I, GOOD[I2I], picture((65, 64)))

    assert (status, "divisible by 8; 65×64 is not" in said) == (400, True), said


async def test_a_rotated_photograph_gives_an_upright_result() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    async with worker(settings(I2I.value)) as (client, _):
        answer = await client.post(
            "/image-to-image",
            data={key: str(value) for key, value in GOOD[I2I].items()},
            files={"image": ("x.jpg", picture((64, 32), "JPEG", exif=exif), "image/jpeg")},
            headers={"Accept": "image/png"},
        )

    assert Image.open(io.BytesIO(answer.content)).size == (32, 64)


async def test_the_further_pictures_of_a_telephones_jpeg_do_no_harm() -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))])
    async with worker(settings(I2I.value)) as (client, _):
        answer = await send(client, I2I, GOOD[I2I], out.getvalue())

    assert answer.status_code == 200, answer.text


async def test_a_field_longer_than_a_field_may_be_is_refused_with_the_limit() -> None:
    status, said = await refused(I2I, GOOD[I2I] | {"prompt": "x" * 300_000})

    assert (status, "at most 262144 bytes" in said) == (400, True), said


@pytest.mark.parametrize(
    ("pipeline", "parts"),
    [
        (T2I, {"data": {"prompt": "p"}}),
        (T2I, {"content": b'{"prompt": "\xff"}'}),
        (T2I, {"content": b'{"prompt": "p", "guidance_scale": NaN}'}),
        (T2I, {"content": b'{"prompt": "\\ud800"}'}),
        (I2I, {"json": {"prompt": "p"}}),
        (I2V, {"data": {"width": "64"}}),
        (I2V, {"files": {"picture": ("x.png", picture(), "image/png")}}),
    ],
)
async def test_a_body_of_the_wrong_kind_is_a_400(pipeline: Pipeline, parts: dict[str, Any]) -> None:
    async with worker(settings(pipeline.value)) as (client, _):
        answer = await client.post(FACTS[pipeline].route, **parts)

    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]["msg"]


async def test_an_endless_upload_is_stopped_at_the_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        while sent < 10 * MAX_FORM_BYTES:
            sent += 2**20
            yield b"x" * 2**20

    async with worker(settings(I2I.value)) as (client, _):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await client.post("/image-to-image", content=endless(), headers=headers)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, f"the body is larger than {MAX_FORM_BYTES} bytes")
