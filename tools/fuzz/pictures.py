"""Files that are pictures, were pictures, or say so."""

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tools.fuzz.case import damaged, noise, rarely

_MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "BMP": ("RGB",),
    "TIFF": ("RGB", "CMYK"),
    "ICO": ("RGBA",),
    "MPO": ("RGB",),
}
_SIDES = (1, 7, 8, 9, 64, 65, 200)


@functools.lru_cache(maxsize=512)
def sound(kind: str, mode: str, width: int, height: int, frames: int = 1) -> bytes:
    """A whole file; `frames` of another number than 1 make it an animation."""
    out = io.BytesIO()
    shades = [Image.new(mode, (width, height), 40 * number) for number in range(frames)]
    options = {"save_all": True, "append_images": shades[1:]} if frames > 1 else {}
    shades[0].save(out, kind, **options)
    return out.getvalue()


def _some(chance: random.Random) -> bytes:
    kind = chance.choice(list(_MODES))
    animated = kind in ("PNG", "WEBP", "GIF", "MPO") and rarely(chance)
    return sound(kind, chance.choice(_MODES[kind]), chance.choice(_SIDES), chance.choice(_SIDES), 3 if animated else 1)


def _taken(chance: random.Random) -> bytes:
    kind = chance.choice(("PNG", "JPEG", "WEBP"))
    return sound(kind, chance.choice(_MODES[kind]), 64, chance.choice((64, 200)))


def png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these parts, with right checksums."""
    parts = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def _claiming(chance: random.Random) -> bytes:
    """A small file that claims to be large, of a kind that is not there, or of no size at all."""
    size = [chance.choice((0, 1, 64, 4000, 4001, 65_535, 2**31 - 1, 2**31, 2**32 - 1)) for _ in range(2)]
    header = struct.pack(">IIBBBBB", *size, chance.choice((1, 2, 8, 16, 32)), chance.randrange(8), 0, 0, chance.randrange(3))
    return png(header, (b"IDAT", zlib.compress(bytes(chance.choice((0, 64, 100_000))))))


@functools.cache
def _long_zeros() -> bytes:
    return zlib.compress(bytes(20_000_000), 9)


def _laden(chance: random.Random) -> bytes:
    """A sound header with something heavy or torn behind it."""
    heavy = chance.choice((_long_zeros(), noise(chance, 4000)))
    kind = chance.choice((b"zTXt", b"iCCP", b"iTXt", b"eXIf", b"PLTE", b"tRNS", b"acTL", b"fdAT", b"IDAT"))
    text = b"k\0\0" + heavy if kind in (b"zTXt", b"iCCP") else heavy
    return png(struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0), (kind, text), (b"IDAT", zlib.compress(bytes(64 * 193))))


def _with_exif(chance: random.Random) -> bytes:
    out = io.BytesIO()
    torn = (
        b"Exif\0\0" + chance.choice((b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0", b"")) + noise(chance, chance.choice((8, 200, 60_000)))
    )
    Image.new("RGB", (64, 64)).save(out, "JPEG", exif=torn[:65_000])
    return out.getvalue()


def _two_in_one(chance: random.Random) -> bytes:
    return (
        _some(chance)[: chance.choice((8, 12, 10**6))]
        + _some(chance)
        + chance.choice((b"", b"PK\x03\x04", b"<script>", b"%PDF-1.7"))
    )


def _only_a_beginning(chance: random.Random) -> bytes:
    magic = chance.choice((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"GIF89a", b"<svg>", b""))
    return magic + noise(chance, 3000)


_MAKERS: tuple[Callable[[random.Random], bytes], ...] = (
    _some,
    _claiming,
    _laden,
    _with_exif,
    _two_in_one,
    _only_a_beginning,
    lambda chance: damaged(_some(chance), chance),
    lambda chance: damaged(_taken(chance), chance),
    lambda chance: damaged(_taken(chance), chance),
    _taken,
)


def picture(chance: random.Random) -> bytes:
    """Any of them."""
    return chance.choice(_MAKERS)(chance)
