import io
import zlib
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from stoker_contracts.uploads import MAX_UPLOAD_BYTES
from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.encoding.png import encode_png
from stoker_worker.encoding.uploads import UploadError, decode_upload
from stoker_worker.engine.protocol import Pixels


def file(size: tuple[int, int] = (64, 64), kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind, **options)
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3))))
def test_a_png_decodes_to_the_very_same_pixels(pixels: Pixels) -> None:
    decoded = np.asarray(Image.open(io.BytesIO(encode_png(pixels))))

    assert np.array_equal(decoded, pixels)


def test_an_mp4_has_the_size_the_frames_and_the_speed_asked_for() -> None:
    frames = [np.full((64, 96, 3), shade, np.uint8) for shade in range(0, 250, 50)]

    with av.open(io.BytesIO(encode_mp4(frames, 7)), "r") as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))

    assert (stream.width, stream.height) == (96, 64)
    assert stream.average_rate == 7
    assert len(decoded) == len(frames)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_accepted_format_becomes_an_rgb_picture(kind: str) -> None:
    picture = decode_upload(file(kind=kind))

    assert (picture.mode, picture.size) == ("RGB", (64, 64))


def test_a_rotated_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    assert decode_upload(file((64, 32), "JPEG", exif=exif)).size == (32, 64)


def test_transparency_and_palettes_become_plain_colour() -> None:
    out = io.BytesIO()
    Image.new("P", (16, 16)).save(out, "PNG", transparency=0)

    assert decode_upload(out.getvalue()).mode == "RGB"


def bomb() -> bytes:
    """A small file that claims 30,000 × 30,000 pixels."""
    data = bytearray(file((8, 8)))
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def animated(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read"),
        (b"no picture at all", "cannot be read"),
        (file()[:60], "cannot be read"),
        (file((300, 300), "JPEG")[:400], "cannot be read"),
        (file(kind="GIF"), "PNG, JPEG, WEBP"),
        (file(kind="BMP"), "PNG, JPEG, WEBP"),
        (file(kind="TIFF"), "PNG, JPEG, WEBP"),
        (bomb(), "at most 16000000"),
        (file((4001, 4000)), "at most 16000000"),
        (file((1, 1)), "at least 8"),
        (file((7, 64)), "at least 8"),
        (animated("PNG"), "animated"),
        (animated("WEBP"), "animated"),
        (b"x" * (MAX_UPLOAD_BYTES + 1), str(MAX_UPLOAD_BYTES)),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_hostile_picture_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(UploadError, match=words) as refused:
        decode_upload(data)

    assert "0x" not in str(refused.value)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_a_picture_or_a_refusal_and_never_an_accident(place: int, damage: bytes) -> None:
    data = bytearray(file())
    data[place % len(data) : place % len(data) + len(damage)] = damage

    try:
        decode_upload(bytes(data))
    except UploadError as refused:
        assert "0x" not in str(refused)  # noqa: PT017 - both ends are allowed
