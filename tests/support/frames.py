"""Pictures as Livepeer's runner answers them to image-to-video, and what a clip holds."""

import base64
import io
from typing import Any

import av
from PIL import Image


def picture(width: int = 64, height: int = 48, shade: int = 0, kind: str = "PNG") -> str:
    """One frame of one colour, as a data URL."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 80, 40)).save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def answered(*urls: str, seed: int = 7, nsfw: bool = False) -> dict[str, Any]:
    """The body of an answer with frames."""
    return {"frames": [[{"url": url, "seed": seed, "nsfw": nsfw} for url in urls]]}


def looked_at(clip: bytes) -> tuple[int, int, int, int]:
    """Width, height, frames and frames a second of an MP4."""
    with av.open(io.BytesIO(clip), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate is not None
        return stream.width, stream.height, len(list(container.decode(video=0))), int(stream.average_rate)
