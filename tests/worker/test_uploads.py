"""Decoding in this very process: what is refused, what becomes a picture and which."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stoker_contracts.uploads import MAX_UPLOAD_BYTES
from stoker_worker.encoding.uploads import UploadError, decode_upload
from tools.fuzz.case import damaged
from tools.fuzz.pictures import picture, png


def file(
    size: tuple[int, int] = (64, 64), kind: str = "PNG", mode: str = "RGB", colour: Any = (200, 30, 30), **options: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **options)
    return out.getvalue()


def colour(data: bytes) -> tuple[int, int, int]:
    """That of the middle of the decoded picture."""
    decoded = decode_upload(data)
    assert decoded.mode == "RGB"
    seen = decoded.getpixel((decoded.width // 2, decoded.height // 2))
    assert isinstance(seen, tuple)
    return int(seen[0]), int(seen[1]), int(seen[2])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_each_accepted_format_becomes_an_rgb_picture(kind: str) -> None:
    assert colour(file(kind=kind)) == pytest.approx((200, 30, 30), abs=3)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (file(mode="L", colour=90), (90, 90, 90)),
        (file(mode="1", colour=1), (255, 255, 255)),
        (file(mode="LA", colour=(90, 10)), (90, 90, 90)),
        (file(mode="RGBA", colour=(9, 8, 7, 0)), (9, 8, 7)),
        (file(mode="I;16", colour=40_000), (156, 156, 156)),
        (file(mode="I;16", colour=65_535), (255, 255, 255)),
        (file(mode="P", colour=0, transparency=0), (0, 0, 0)),
        (file(mode="L", colour=90, kind="JPEG"), (90, 90, 90)),
        (file(mode="CMYK", colour=(0, 255, 255, 0), kind="JPEG"), (255, 0, 0)),
        (file(mode="RGBA", colour=(9, 8, 7, 255), kind="WEBP", lossless=True), (9, 8, 7)),
        (png(struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0), (b"IDAT", zlib.compress((b"\0" + b"\x80\xff\x40\0\xff\xff" * 8) * 8))),
         (128, 64, 255)),
    ],
    ids=["grey", "bits", "grey alpha", "alpha", "16 bits", "white of 16 bits", "palette", "grey jpeg", "cmyk", "webp", "rgb 16"],
)  # fmt: skip
def test_every_kind_of_pixel_becomes_the_colour_that_it_is(data: bytes, seen: tuple[int, int, int]) -> None:
    assert colour(data) == pytest.approx(seen, abs=2)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_is_turned_upright(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn

    assert decode_upload(file((64, 32), "JPEG", exif=exif)).size == ((64, 32) if turn <= 4 else (32, 64))


def test_a_turned_photograph_shows_its_upper_left_where_it_belongs() -> None:
    lying = Image.new("RGB", (64, 32), "black")
    lying.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    lying.save(out, "JPEG", exif=exif)

    upright = np.asarray(decode_upload(out.getvalue()))

    assert upright[4, 28].min() > 200
    assert upright[4, 4].max() < 50


def test_exif_as_large_as_it_can_be_does_no_harm() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 65_000

    assert decode_upload(file(kind="JPEG", exif=exif)).size == (64, 64)


def bomb() -> bytes:
    """A small file that claims 30,000 × 30,000 pixels."""
    return png(struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0), (b"IDAT", zlib.compress(bytes(64))))


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
        (file((300, 300), "WEBP")[:100], "cannot be read"),
        (file(kind="GIF"), "PNG, JPEG, WEBP"),
        (file(kind="BMP"), "PNG, JPEG, WEBP"),
        (file(kind="TIFF"), "PNG, JPEG, WEBP"),
        (file(kind="GIF")[:10] + file(), "PNG, JPEG, WEBP"),
        (bomb(), "at most 16000000"),
        (file((4001, 4000)), "at most 16000000"),
        (file((1, 1)), "at least 8"),
        (file((7, 64)), "at least 8"),
        (png(struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)), "cannot be read"),
        (animated("PNG"), "animated"),
        (animated("WEBP"), "animated"),
        (animated("GIF"), "PNG, JPEG, WEBP"),
        (b"x" * (MAX_UPLOAD_BYTES + 1), str(MAX_UPLOAD_BYTES)),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_hostile_picture_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(UploadError, match=words) as refused:
        decode_upload(data)

    assert "0x" not in str(refused.value)


def test_a_file_with_another_behind_it_is_the_first_of_them() -> None:
    assert colour(file() + file(kind="JPEG", colour=(0, 0, 255)) + b"<script>") == (200, 30, 30)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_a_picture_or_a_refusal_and_never_an_accident(place: int, damage: bytes) -> None:
    data = bytearray(file())
    data[place % len(data) : place % len(data) + len(damage)] = damage

    expect_picture_or_refusal(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_whatever_a_stranger_sends_is_a_picture_or_a_refusal(chance: Any, torn: bool) -> None:  # noqa: FBT001 - drawn
    data = picture(chance)

    expect_picture_or_refusal(damaged(data, chance) if torn else data)


def expect_picture_or_refusal(data: bytes) -> None:
    try:
        assert decode_upload(data).mode == "RGB"
    except UploadError as refused:
        assert "0x" not in str(refused)  # noqa: PT017 - both ends are allowed
