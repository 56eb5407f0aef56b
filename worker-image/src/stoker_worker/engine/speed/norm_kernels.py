"""Group norm, and SiLU after it, as Triton kernels that keep a whole card busy with one picture.

torch's own kernel gives each group of each picture to one thread block: 32 blocks, where a card has over a hundred multiprocessors.
Here each group is cut into chunks:

1. the mean and the sum of squared distances from it are found for each chunk, in float32, by Welford's running update;
2. a group's chunks are put together by Chan's formula, so that a large mean costs no digits as a plain sum of squares would;
3. every number is normalised, scaled, shifted and put through SiLU, and is rounded once.

A tensor lies by channel (contiguous) or by pixel (the channels of a pixel side by side, as ``channels_last`` has them), and the
result lies as the tensor does. A group's chunks lie side by side in memory in both cases, which lets one kernel put them together.
How a picture is cut depends on its own size alone, never on how many pictures there are.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

_TILE = 2048
"""Numbers that a thread block has in hand at once: 16 for each of its 128 threads."""
_SHARES = 1024
"""Thread blocks that read one picture, at most: about eight for each multiprocessor of a large card."""
_WIDEST, _NARROWEST = 256, 32
"""Channels of a tile that lies by pixel: 32 numbers of two bytes are half a line of the card's memory."""
_TOGETHER = 1024
"""Parts of a group that are put together at once: one number for all sizes, because each one is a kernel to compile."""


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, *, activated: bool) -> Any:
    """What ``torch.nn.functional.group_norm`` gives, and with `activated` SiLU of it.

    `x` is [pictures, channels, ...] on a card, in float32, float16 or bfloat16. One that lies neither by channel nor by pixel is
    copied to lie by channel. `weight` and `bias` are [channels]. There are no gradients.
    """
    by_pixel = not x.is_contiguous() and x.movedim(1, -1).is_contiguous()
    x = x if by_pixel else x.contiguous()
    pictures, channels = x.shape[:2]
    pixels = x[0, 0].numel()
    size = _Size(pictures, channels, pixels, groups)
    return _by_pixel(x, size, weight, bias, eps, activated) if by_pixel else _by_channel(x, size, weight, bias, eps, activated)


@dataclass(frozen=True, slots=True)
class _Size:
    pictures: int
    channels: int
    pixels: int
    groups: int

    @property
    def rows(self) -> int:
        """Groups of all pictures."""
        return self.pictures * self.groups

    @property
    def width(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups


def _cut(tiles: int, most: int) -> tuple[int, int]:
    """Into how many chunks, and of how many tiles each, to cut a row of tiles; the last chunk may have fewer."""
    steps = triton.cdiv(tiles, max(1, most))
    return triton.cdiv(tiles, steps), steps


def _columns(channels: int) -> int:
    """Channels of a tile that lies by pixel: a power of two, as Triton asks, that divides them where there is one of use."""
    dividing = channels & -channels
    if dividing >= _NARROWEST:
        return min(dividing, _WIDEST)
    return int(min(triton.next_power_of_2(channels), _WIDEST))


def _by_channel(x: Any, size: _Size, weight: Any, bias: Any, eps: float, activated: bool) -> Any:  # noqa: FBT001 - handed on
    length = size.width * size.pixels
    chunks, steps = _cut(triton.cdiv(length, _TILE), _SHARES // size.groups)
    means, squares = (_floats(x, size.rows * chunks) for _ in range(2))
    _measure_by_channel[(size.rows * chunks,)](x, means, squares, length, chunks, steps, TILE=_TILE)
    moments = _put_together(means, squares, size, chunks, (length, chunks, steps * _TILE), eps)
    result = torch.empty_like(x)
    tile = min(_TILE, triton.next_power_of_2(size.pixels))
    tiles = triton.cdiv(size.pixels, tile)
    _normalise_by_channel[(size.pictures * size.channels * tiles,)](
        x, result, moments, weight, bias, size.pixels, size.channels, tiles, ACTIVATED=activated, TILE=tile
    )
    return result


def _by_pixel(x: Any, size: _Size, weight: Any, bias: Any, eps: float, activated: bool) -> Any:  # noqa: FBT001 - handed on
    columns = _columns(size.channels)
    slabs, rows = triton.cdiv(size.channels, columns), _TILE // columns
    tiles = triton.cdiv(size.pixels, rows)
    chunks, steps = _cut(tiles, _SHARES // slabs)
    means, squares = (_floats(x, size.pictures * size.channels * chunks) for _ in range(2))
    _measure_by_pixel[(size.pictures * chunks * slabs,)](
        x, means, squares, size.pixels, size.channels, chunks, slabs, steps, ROWS=rows, COLUMNS=columns
    )
    moments = _put_together(means, squares, size, size.width * chunks, (size.pixels, chunks, steps * rows), eps)
    result = torch.empty_like(x)
    _normalise_by_pixel[(size.pictures * tiles * slabs,)](
        x, result, moments, weight, bias, size.pixels, size.channels, tiles, slabs, ACTIVATED=activated, ROWS=rows, COLUMNS=columns
    )
    return result


def _put_together(means: Any, squares: Any, size: _Size, parts: int, cut: tuple[int, int, int], eps: float) -> Any:
    """Each channel's mean and reciprocal deviation, which are its group's. `cut` is a row's length, its chunks and their length."""
    moments = _floats(means, 2 * size.pictures * size.channels)
    tile = max(_TOGETHER, triton.next_power_of_2(size.width))
    _combine[(size.rows,)](means, squares, moments, parts, *cut, size.width, size.width * size.pixels, eps, TILE=tile)
    return moments


def _floats(beside: Any, count: int) -> Any:
    return torch.empty(count, dtype=torch.float32, device=beside.device)


@triton.jit
def _seen(left: tl.tensor, steps: tl.tensor, STRIDE: tl.constexpr) -> tl.tensor:
    """How many numbers each lane has taken, one in STRIDE, from a row of which `left` lie from the lane's first one on."""
    return tl.minimum(tl.maximum(left + STRIDE - 1, 0) // STRIDE, steps).to(tl.float32)


@triton.jit(do_not_specialize=["chunks", "steps"])
def _measure_by_channel(
    x: tl.tensor, means: tl.tensor, squares: tl.tensor, length: tl.tensor, chunks: tl.tensor, steps: tl.tensor, TILE: tl.constexpr,
) -> None:  # fmt: skip
    """One block: a chunk of a group's numbers, which lie side by side."""
    program = tl.program_id(0)
    chunk = program % chunks
    row = (program // chunks).to(tl.int64)
    lanes = tl.arange(0, TILE)
    mean = tl.zeros([TILE], tl.float32)
    square = tl.zeros([TILE], tl.float32)
    seen = 0.0
    for step in range(steps):
        seen += 1.0
        first = (chunk * steps + step) * TILE
        known = first + lanes < length
        value = tl.load(x + row * length + first + lanes, mask=known, other=0.0).to(tl.float32)
        away = tl.where(known, value - mean, 0.0)
        mean += away * (1.0 / seen)
        square += away * (value - mean)
    count = _seen(length - chunk * steps * TILE - lanes, steps, TILE)
    whole = tl.sum(mean * count, 0) / tl.sum(count, 0)
    apart = mean - whole
    tl.store(means + program, whole)
    tl.store(squares + program, tl.sum(square + count * apart * apart, 0))


@triton.jit(do_not_specialize=["chunks", "slabs", "steps"])
def _measure_by_pixel(
    x: tl.tensor, means: tl.tensor, squares: tl.tensor, pixels: tl.tensor, channels: tl.tensor, chunks: tl.tensor,
    slabs: tl.tensor, steps: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """One block: a chunk of pixels in a slab of channels. Each channel is measured by itself: a slab need not hold whole groups."""
    program = tl.program_id(0)
    slab = program % slabs
    chunk = program // slabs % chunks
    picture = (program // slabs // chunks).to(tl.int64)
    lanes = tl.arange(0, ROWS)
    channel = slab * COLUMNS + tl.arange(0, COLUMNS)
    there = channel < channels
    offsets = lanes[:, None] * channels + channel[None, :]
    mean = tl.zeros([ROWS, COLUMNS], tl.float32)
    square = tl.zeros([ROWS, COLUMNS], tl.float32)
    seen = 0.0
    for step in range(steps):
        seen += 1.0
        first = (chunk * steps + step) * ROWS
        known = (first + lanes < pixels)[:, None] & there[None, :]
        value = tl.load(x + (picture * pixels + first) * channels + offsets, mask=known, other=0.0).to(tl.float32)
        away = tl.where(known, value - mean, 0.0)
        mean += away * (1.0 / seen)
        square += away * (value - mean)
    count = _seen(pixels - chunk * steps * ROWS - lanes, steps, ROWS)
    whole = tl.sum(mean * count[:, None], 0) / tl.sum(count, 0)
    apart = mean - whole[None, :]
    part = (picture * channels + channel) * chunks + chunk
    tl.store(means + part, whole, mask=there)
    tl.store(squares + part, tl.sum(square + count[:, None] * apart * apart, 0), mask=there)


@triton.jit(do_not_specialize=["parts", "length", "chunks", "size", "width", "total"])
def _combine(
    means: tl.tensor, squares: tl.tensor, moments: tl.tensor, parts: tl.tensor, length: tl.tensor, chunks: tl.tensor,
    size: tl.tensor, width: tl.tensor, total: tl.tensor, eps: tl.tensor, TILE: tl.constexpr,
) -> None:  # fmt: skip
    """One block: all `parts` of a group. Each has `size` numbers, and the last of a row's `chunks` what is left of its `length`."""
    row = tl.program_id(0).to(tl.int64)
    lanes = tl.arange(0, TILE)
    summed = tl.zeros([TILE], tl.float32)
    for first in range(0, parts, TILE):
        part = first + lanes
        count = tl.minimum(length - part % chunks * size, size).to(tl.float32)
        mean = tl.load(means + row * parts + part, mask=part < parts, other=0.0)
        summed += mean * (count / total)
    whole = tl.sum(summed, 0)
    spread = tl.zeros([TILE], tl.float32)
    for first in range(0, parts, TILE):
        part = first + lanes
        count = tl.minimum(length - part % chunks * size, size).to(tl.float32)
        mean = tl.load(means + row * parts + part, mask=part < parts, other=0.0)
        square = tl.load(squares + row * parts + part, mask=part < parts, other=0.0)
        spread += tl.where(part < parts, (square + count * (mean - whole) * (mean - whole)) / total, 0.0)
    channel = (row * width + lanes) * 2
    tl.store(moments + channel, whole, mask=lanes < width)
    tl.store(moments + channel + 1, 1.0 / tl.sqrt(tl.sum(spread, 0) + eps), mask=lanes < width)


@triton.jit
def _silu(value: tl.tensor) -> tl.tensor:
    return value / (1.0 + tl.exp(-value))


@triton.jit(do_not_specialize=["tiles"])
def _normalise_by_channel(
    x: tl.tensor, result: tl.tensor, moments: tl.tensor, weight: tl.tensor, bias: tl.tensor, pixels: tl.tensor,
    channels: tl.tensor, tiles: tl.tensor, ACTIVATED: tl.constexpr, TILE: tl.constexpr,
) -> None:  # fmt: skip
    """One block: a tile of one channel's pixels."""
    program = tl.program_id(0)
    row = program // tiles
    pixel = program % tiles * TILE + tl.arange(0, TILE)
    known = pixel < pixels
    mean = tl.load(moments + row * 2)
    scale = tl.load(moments + row * 2 + 1) * tl.load(weight + row % channels).to(tl.float32)
    shift = tl.load(bias + row % channels).to(tl.float32)
    offsets = row.to(tl.int64) * pixels + pixel
    value = tl.load(x + offsets, mask=known, other=0.0).to(tl.float32)
    value = (value - mean) * scale + shift
    if ACTIVATED:
        value = _silu(value)
    tl.store(result + offsets, value.to(result.dtype.element_ty), mask=known)


@triton.jit(do_not_specialize=["tiles", "slabs"])
def _normalise_by_pixel(
    x: tl.tensor, result: tl.tensor, moments: tl.tensor, weight: tl.tensor, bias: tl.tensor, pixels: tl.tensor,
    channels: tl.tensor, tiles: tl.tensor, slabs: tl.tensor, ACTIVATED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """One block: a tile of pixels in a slab of channels."""
    program = tl.program_id(0)
    slab = program % slabs
    first = program // slabs % tiles * ROWS
    picture = program // slabs // tiles
    channel = slab * COLUMNS + tl.arange(0, COLUMNS)
    there = channel < channels
    moment = moments + (picture * channels + channel) * 2
    mean = tl.load(moment, mask=there, other=0.0)
    scale = tl.load(moment + 1, mask=there, other=0.0) * tl.load(weight + channel, mask=there, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel, mask=there, other=0.0).to(tl.float32)
    lanes = tl.arange(0, ROWS)
    known = (first + lanes < pixels)[:, None] & there[None, :]
    offsets = (picture.to(tl.int64) * pixels + first) * channels + lanes[:, None] * channels + channel[None, :]
    value = tl.load(x + offsets, mask=known, other=0.0).to(tl.float32)
    value = (value - mean[None, :]) * scale[None, :] + shift[None, :]
    if ACTIVATED:
        value = _silu(value)
    tl.store(result + offsets, value.to(result.dtype.element_ty), mask=known)
