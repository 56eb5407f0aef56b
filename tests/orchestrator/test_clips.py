"""Clips made of frames that somebody else's container answered, whatever they hold."""

import asyncio
import base64
import io
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import av
import pytest

from stoker_orchestrator.adapters.clips import encode, encoder
from stoker_orchestrator.adapters.clips.encoder import AT_A_TIME, Clip, ClipEncoder, UnusableFramesError
from stoker_orchestrator.adapters.clips.limits import MAX_FRAMES
from stoker_orchestrator.adapters.connection import WorkerLostError
from tests.support.children import children_of
from tests.support.frames import answered, looked_at, picture
from tests.support.waiting import until


async def parts(body: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    for place in range(0, len(body), size):
        yield body[place : place + size]


async def clip(body: Any, fps: int = 6) -> Clip:
    return await ClipEncoder().encode(parts(body if isinstance(body, bytes) else json.dumps(body).encode()), fps)


async def test_frames_become_one_clip_with_the_seed_and_the_speed_that_were_asked_for() -> None:
    made = await clip(answered(*[picture(shade=shade) for shade in range(0, 250, 50)]), fps=10)

    assert looked_at(made.data) == (64, 48, 5, 10)
    assert (made.seed, made.nsfw) == (7, False)


@pytest.mark.parametrize("frames", [1, MAX_FRAMES])
async def test_a_clip_can_be_played_before_it_is_whole_however_many_frames_it_has(frames: int) -> None:
    made = await clip(answered(*[picture(16, 16)] * frames))

    assert looked_at(made.data)[2] == frames
    assert made.data.index(b"moov") < made.data.index(b"mdat")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_the_colours_of_a_clip_are_those_of_its_frames_and_say_what_they_are(kind: str) -> None:
    made = await clip(answered(picture(shade=200, kind=kind)))

    with av.open(io.BytesIO(made.data), "r") as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        (frame,) = container.decode(video=0)
    seen = frame.to_ndarray(format="rgb24").astype(int)
    assert abs(seen - (200, 80, 40)).max() <= 6


def test_a_clip_that_is_too_long_is_not_made_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MAX_OUTPUT_BYTES", 10_000)
    frames = encode.Frames(json.dumps(answered(*[picture(64, 64, shade) for shade in range(256)])).encode())

    with pytest.raises(encode.UnusableError, match="more than 10000 bytes"):
        encode.clip(frames, 6)


@pytest.mark.parametrize(("width", "height"), [(63, 65), (1, 1), (64, 33)])
async def test_frames_of_odd_sizes_make_a_clip_of_the_nearest_even_one(width: int, height: int) -> None:
    made = await clip(answered(picture(width, height, kind="JPEG")))

    assert looked_at(made.data)[:2] == (max(2, width // 2 * 2), max(2, height // 2 * 2))


@pytest.mark.parametrize("seed", [None, True, "7", 1.5, 2**63, 10**400])
async def test_a_clip_is_flagged_where_any_frame_is_and_a_seed_that_is_none_is_zero(seed: object) -> None:
    body = answered(picture(), picture())
    body["frames"][0][0]["seed"] = seed
    body["frames"][0][1]["nsfw"] = True

    made = await clip(body)

    assert (made.seed, made.nsfw) == (0, True)


HUGE = picture(5000, 4000)
NOT_A_PICTURE = f"data:image/png;base64,{base64.b64encode(b'hello' * 99).decode()}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON with frames"),
        (b"{", "not JSON with frames"),
        (b"[" * 100_000, "not JSON with frames"),
        ({"images": []}, "not JSON with frames"),
        ({"frames": []}, "one batch"),
        ({"frames": [[], []]}, "one batch"),
        ({"frames": [[]]}, "1 to 256 frames"),
        (answered(*["x"] * 257), "1 to 256 frames"),
        ({"frames": [[picture()]]}, "1 to 256 frames"),
        (answered("https://host/frame.png"), "frame 1 is no PNG or JPEG"),
        (answered("file:///etc/passwd"), "frame 1 is no PNG or JPEG"),
        (answered("data:image/gif;base64,R0lGODlhAQABAAAAACw="), "frame 1 is no PNG or JPEG"),
        (answered(picture(), "data:image/png;base64,"), "frame 2 is no PNG or JPEG"),
        (answered("99"), "frame 1 is no PNG or JPEG"),
        (answered(NOT_A_PICTURE), "frame 1 cannot be decoded"),
        (answered(picture()[:-40]), "frame 1 cannot be decoded"),
        (answered(HUGE), "more than 16777216 pixels"),
        (answered(picture(), picture(32, 48)), "frame 2 has another size"),
    ],
)
async def test_frames_that_make_no_clip_are_refused_in_words(body: Any, words: str) -> None:
    with pytest.raises(UnusableFramesError, match=words):
        await clip(body)


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MAX_INPUT_BYTES", 10_000)
    with pytest.raises(UnusableFramesError, match="more than 10000 bytes"):
        await clip(b"{" * 20_000)


async def test_a_clip_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MAX_SECONDS", 0.01)
    with pytest.raises(UnusableFramesError, match=r"longer than 0.01 s"):
        await clip(answered(picture()))


async def test_clips_are_made_a_few_at_a_time_and_the_loop_stays_free() -> None:
    made = ClipEncoder()
    under_way = 0

    async def watched(body: bytes) -> AsyncIterator[bytes]:
        nonlocal under_way
        under_way += 1
        assert under_way <= AT_A_TIME
        await asyncio.sleep(0)
        yield body
        under_way -= 1

    body = json.dumps(answered(*[picture(512, 512, shade) for shade in range(20)])).encode()
    clips = asyncio.gather(*[made.encode(watched(body), 6) for _ in range(4)])
    longest, before = 0.0, asyncio.get_running_loop().time()
    while not clips.done():
        await asyncio.sleep(0.001)
        now = asyncio.get_running_loop().time()
        longest, before = max(longest, now - before), now

    assert {looked_at(each.data) for each in await clips} == {(512, 512, 20, 6)}
    assert longest < 0.5


async def test_answers_that_stall_lose_their_places_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "SILENCE_SECONDS", 0.2)
    made, others = ClipEncoder(), set(encoders())

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"frames": [['
        await asyncio.Event().wait()

    stalling = [asyncio.create_task(made.encode(stalled(), 6)) for _ in range(AT_A_TIME)]
    await until(lambda: len(set(encoders()) - others) == AT_A_TIME)
    async with asyncio.timeout(10):
        whole = await made.encode(parts(json.dumps(answered(picture())).encode()), 6)

    assert looked_at(whole.data)[2] == 1
    for each in await asyncio.gather(*stalling, return_exceptions=True):
        assert isinstance(each, WorkerLostError)
        assert each.sent
    assert set(encoders()) == others


def encoders() -> list[int]:
    return children_of(os.getpid(), running="clips.encode")


async def test_a_caller_who_leaves_ends_the_process() -> None:
    begun, never, others = asyncio.Event(), asyncio.Event(), set(encoders())

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        begun.set()
        await never.wait()

    making = asyncio.create_task(ClipEncoder().encode(endless(), 6))
    await begun.wait()
    assert len(set(encoders()) - others) == 1
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making

    assert set(encoders()) == others
