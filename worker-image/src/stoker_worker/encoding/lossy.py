"""Smaller pictures that are not quite the ones that were made, for callers who ask for them by name."""

import io

from PIL import Image

from stoker_worker.engine.protocol import Pixels


def encode_jpeg(pixels: Pixels) -> bytes:
    """A JPEG whose colours are as sharp as its light."""
    return _saved(pixels, "JPEG", quality=95, subsampling="4:4:4")


def encode_webp(pixels: Pixels) -> bytes:
    """A lossy WebP."""
    return _saved(pixels, "WEBP", quality=90, method=2)


def _saved(pixels: Pixels, kind: str, **options: str | int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()
