"""Pictures that strangers send: looked at before they are decoded, and decoded within bounds."""

import io
import warnings

from PIL import Image, ImageOps

from stoker_contracts.jobs import MAX_UPLOAD_BYTES, MAX_UPLOAD_PIXELS, MIN_SIDE, UPLOAD_FORMATS

_WITH_EXTRAS = "MPO"
"""How Pillow calls the JPEG of a telephone that holds further pictures (depth, brightness); the first one is meant."""


class UploadError(Exception):
    """The file is not taken; the text says why and names the limit."""


def decode_upload(data: bytes) -> Image.Image:
    """An upright RGB picture. Raises UploadError.

    The size is read from the header first, so that a small file which unfolds to gigabytes costs nothing.
    """
    if len(data) > MAX_UPLOAD_BYTES:
        message = f"the image has {len(data)} bytes; at most {MAX_UPLOAD_BYTES} are taken"
        raise UploadError(message)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=UPLOAD_FORMATS)
            _check(picture)
            picture.load()
            return ImageOps.exif_transpose(picture).convert("RGB")
    except UploadError:
        raise
    except Image.DecompressionBombError:
        message = f"the image has too many pixels; at most {MAX_UPLOAD_PIXELS} are taken"
        raise UploadError(message) from None
    except Exception:  # noqa: BLE001 - decoders and their readers of EXIF raise nearly anything for a hostile file
        message = f"the image cannot be read: it must be a whole file in one of {', '.join(UPLOAD_FORMATS)}"
        raise UploadError(message) from None


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
