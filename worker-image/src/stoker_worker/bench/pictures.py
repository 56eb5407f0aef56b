"""Pictures that jobs carry."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from stoker_worker.bench.failure import BenchError
from stoker_worker.encoding.uploads import UploadError, decode_upload


def made_picture(size: tuple[int, int]) -> Image.Image:
    """A picture of (width, height): soft colours with some grain, so that it is neither flat nor noise."""
    width, height = size
    across = np.linspace(0, 200, width)[None, :, None] * np.array([1.0, 0.4, 0.1])
    down = np.linspace(0, 200, height)[:, None, None] * np.array([0.0, 0.5, 0.9])
    grain = np.random.default_rng(0).normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(across + down + grain, 0, 255).astype(np.uint8), "RGB")


def picture_file(size: tuple[int, int], given: Path | None) -> bytes:
    """The file that is sent: `given`, or a made PNG of `size`. Raises BenchError where workers would not take it."""
    if given is None:
        file = io.BytesIO()
        made_picture(size).save(file, "PNG", compress_level=1)
        return file.getvalue()
    data = given.read_bytes()
    _decoded(data)
    return data


def picture(size: tuple[int, int], given: Path | None) -> Image.Image:
    """The picture as a worker sees it after decoding. Raises BenchError."""
    return made_picture(size) if given is None else _decoded(given.read_bytes())


def _decoded(data: bytes) -> Image.Image:
    try:
        return decode_upload(data)
    except UploadError as error:
        message = f"--image: {error}"
        raise BenchError(message) from None
