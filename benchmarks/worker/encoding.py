"""What pictures cost on their way: our PNG and MP4 beside Pillow, and an upload through a decoder beside one in this process."""

import asyncio
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.result import rounded, say
from stoker_worker.encoding.decoders import Decoders
from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.encoding.png import encode_png
from stoker_worker.encoding.uploads import decode_upload
from stoker_worker.engine.protocol import Pixels

SIDES = (512, 1024)
ROUNDS = 3
FRAMES = 25
_SHAPES = 40
_GRAIN = 1.5
"""Standard deviation of the noise, in levels of 255: what a decoded latent has on plain surfaces."""


def realistic(side: int, seed: int = 0) -> Pixels:
    """Soft gradients, shapes with edges, and fine noise over all of it."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0:side, 0:side] / side
    waves = (np.sin(6 * across + 2 * down), np.cos(5 * down - 3 * across * down), np.sin(9 * across * down))
    picture = np.stack([128 + 80 * wave for wave in waves], axis=-1)
    for _ in range(_SHAPES):
        left, top, radius = random.random(3)
        inside = (across - left) ** 2 + (down - top) ** 2 < (0.15 * radius) ** 2
        picture[inside] = 0.4 * picture[inside] + 0.6 * random.integers(0, 255, 3)
    noisy: Pixels = np.clip(picture + random.normal(0, _GRAIN, picture.shape), 0, 255).astype(np.uint8)
    return noisy


def _pillow(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _cpu_ms(encode: Callable[[Pixels], bytes], pixels: Pixels) -> float:
    began = time.thread_time()
    encode(pixels)
    return (time.thread_time() - began) * 1000


def png_vs_pillow() -> dict[str, dict[str, float]]:
    """By side: CPU milliseconds of both encoders, medians of interleaved rounds; how often ours fits in, and the sizes' ratio."""
    figures = {}
    for side in SIDES:
        pixels = realistic(side)
        ours, theirs = encode_png(pixels), _pillow(pixels)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(ours))), pixels), "PNG is lossless"
        times = [(_cpu_ms(encode_png, pixels), _cpu_ms(_pillow, pixels)) for _ in range(ROUNDS)]
        ours_ms, pillow_ms = (statistics.median(each) for each in zip(*times, strict=True))
        figures[str(side)] = {
            "faster": rounded(pillow_ms / ours_ms),
            "ms": rounded(ours_ms),
            "pillow_ms": rounded(pillow_ms),
            "size": rounded(len(ours) / len(theirs)),
        }
        say(f"  PNG {side}×{side}: {ours_ms:.1f} ms, Pillow {pillow_ms:.0f} ms of CPU time")
    return figures


def mp4_vs_png() -> dict[str, float]:
    """A clip of 25 frames in 1024 × 576 as our MP4 beside 25 PNG by Pillow: how often ours fits into their CPU time and bytes."""
    scene = realistic(1024 + FRAMES)
    frames = [np.ascontiguousarray(scene[:576, shift : shift + 1024]) for shift in range(FRAMES)]
    began = time.process_time()
    pictures = [_pillow(frame) for frame in frames]
    between = time.process_time()
    clip = encode_mp4(frames, fps=6)
    pictures_s, clip_s = between - began, time.process_time() - between
    say(f"  MP4 of {FRAMES} frames: {clip_s:.2f} s, Pillow's PNG {pictures_s:.1f} s of CPU time")
    faster, smaller = pictures_s / clip_s, sum(map(len, pictures)) / len(clip)
    return {"faster": rounded(faster), "s": rounded(clip_s), "pillow_s": rounded(pictures_s), "smaller": rounded(smaller)}


def upload_ms() -> dict[str, float]:
    """Milliseconds of a JPEG of 1024 × 1024 through a decoder and in this process: medians of interleaved rounds."""
    out = io.BytesIO()
    Image.fromarray(realistic(1024)).save(out, "JPEG", quality=90)
    apart, here = asyncio.run(_uploads(out.getvalue()))
    return {"decoder": rounded(statistics.median(apart)), "in_process": rounded(statistics.median(here))}


async def _uploads(data: bytes) -> tuple[list[float], list[float]]:
    decoders = Decoders()
    apart, here = [], []
    try:
        await decoders.decode(data)
        for _ in range(4 * ROUNDS):
            began = time.perf_counter()
            await decoders.decode(data)
            between = time.perf_counter()
            await asyncio.to_thread(decode_upload, data)
            apart.append((between - began) * 1000)
            here.append((time.perf_counter() - between) * 1000)
    finally:
        decoders.close()
    return apart, here
