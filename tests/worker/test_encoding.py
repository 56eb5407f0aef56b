import io
import struct

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.protocol import Pixels


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3))))
def test_a_png_decodes_to_the_very_same_pixels(pixels: Pixels) -> None:
    decoded = np.asarray(Image.open(io.BytesIO(encode_png(pixels))))

    assert np.array_equal(decoded, pixels)


def test_a_png_of_a_view_into_other_pixels_has_those_of_the_view() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)[::-2, ::3]

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def soft(shade: int, height: int = 64, width: int = 96) -> Pixels:
    """A gradient in each colour, a little different for each shade."""
    across = np.linspace(0, 200, width)[None, :] + np.zeros((height, 1))
    down = np.linspace(200, 0, height)[:, None] + np.zeros((1, width))
    return np.stack([across, down, np.full((height, width), 40.0 + shade)], axis=-1).astype(np.uint8)


FRAMES = [soft(shade) for shade in range(0, 200, 8)]


def decoded(clip: bytes) -> list[Pixels]:
    with av.open(io.BytesIO(clip), "r") as container:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)]


def test_an_mp4_has_the_size_the_frames_the_speed_and_the_length_asked_for() -> None:
    with av.open(io.BytesIO(encode_mp4(FRAMES, 5)), "r") as container:
        stream = container.streams.video[0]
        count = len(list(container.decode(stream)))

        assert (stream.width, stream.height, count) == (96, 64, 25)
        assert stream.average_rate == 5
        assert container.duration == 5 * av.time_base


def test_an_mp4_is_one_that_browsers_play_with_colours_that_say_what_they_are() -> None:
    with av.open(io.BytesIO(encode_mp4(FRAMES, 7)), "r") as container:
        context = container.streams.video[0].codec_context

        assert (context.name, context.pix_fmt, context.profile) == ("h264", "yuv420p", "High")
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)


def test_an_mp4s_colours_are_those_of_its_frames() -> None:
    for made, seen in zip(FRAMES, decoded(encode_mp4(FRAMES, 7)), strict=True):
        difference = np.abs(made.astype(int) - seen)
        assert difference.mean() < 2
        assert difference.max() < 24


def test_a_lossless_mp4_keeps_every_pixel_but_for_the_rounding_of_its_colour_space() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    for made, seen in zip(noise, decoded(encode_mp4(list(noise), 7, lossless=True)), strict=True):
        assert np.abs(made.astype(int) - seen).max() <= 3


@pytest.mark.parametrize("frames", [1, 2, 25, 300])
def test_an_mp4s_index_stands_in_front_however_many_frames_it_lists(frames: int) -> None:
    clip = encode_mp4([soft(number % 200, 16, 16) for number in range(frames)], 30)

    kinds, place = [], 0
    while place < len(clip):
        length, kind = struct.unpack_from(">I4s", clip, place)
        assert length >= 8
        kinds.append(kind)
        place += length

    assert [kind for kind in kinds if kind != b"free"] == [b"ftyp", b"moov", b"mdat"]
    assert len(decoded(clip)) == frames
