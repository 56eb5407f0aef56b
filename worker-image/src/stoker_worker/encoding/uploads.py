"""Pictures that strangers send: looked at before they are decoded, and decoded within bounds.

For the process that does nothing else (``decoder_process``); the worker's own reaches it by ``decoders``.
"""

import io
import warnings

from PIL import Image, ImageOps

from stoker_contracts.uploads import MAX_UPLOAD_BYTES, MAX_UPLOAD_PIXELS, MIN_SIDE, UPLOAD_FORMATS

_WITH_EXTRAS = "MPO"
"""How Pillow calls the JPEG of a telephone that holds further pictures (depth, brightness); the first one is meant."""
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of grey pictures with 65,536 shades. Pillow's own way to RGB cuts them off at 255."""
_SHADES = 257
"""Of 65,536 in one of 256."""


class UploadError(Exception):
    """The file is not taken; the text says why and names the limit."""


def check_bytes(data: bytes) -> None:
    """Raises UploadError for a file that is too large to be looked at."""
    if len(data) > MAX_UPLOAD_BYTES:
        message = f"the image has {len(data)} bytes; at most {MAX_UPLOAD_BYTES} are taken"
        raise UploadError(message)


def decode_upload(data: bytes) -> Image.Image:
    """An upright RGB picture. Raises UploadError.

    The size is read from the header first, so that a small file which unfolds to gigabytes costs nothing.
    """
    check_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=UPLOAD_FORMATS)
            _check(picture)
            picture.load()
            return _in_colour(ImageOps.exif_transpose(picture))
    except UploadError:
        raise
    except Image.DecompressionBombError:
        message = f"the image has too many pixels; at most {MAX_UPLOAD_PIXELS} are taken"
        raise UploadError(message) from None
    except Exception:  # noqa: BLE001 - decoders and their readers of EXIF raise nearly anything for a hostile file
        message = f"the image cannot be read: it must be a whole file in one of {', '.join(UPLOAD_FORMATS)}"
        raise UploadError(message) from None


def _in_colour(picture: Image.Image) -> Image.Image:
    if picture.mode in _SIXTEEN_BITS:
        picture = picture.convert("I").point(lambda shade: shade * (1 / _SHADES)).convert("L")
    return picture.convert("RGB")


def _check(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_UPLOAD_PIXELS:
        message = f"the image has {width}×{height} pixels; at most {MAX_UPLOAD_PIXELS} are taken"
        raise UploadError(message)
    if min(width, height) < MIN_SIDE:
        message = f"the image has {width}×{height} pixels; each side must have at least {MIN_SIDE}"
        raise UploadError(message)
    if picture.format != _WITH_EXTRAS and getattr(picture, "n_frames", 1) > 1:
        message = "the image is animated; send a single picture"
        raise UploadError(message)
