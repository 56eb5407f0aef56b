"""The process that makes a clip: an answer with frames on its input, a line about the clip and the MP4 on its output.

The frames come from somebody else's container. So they are decoded here, where an error of a decoder ends nothing but this process,
and memory and time are bounded by the kernel. ``python -m stoker_orchestrator.adapters.clips.encode FPS``.
"""

import base64
import binascii
import io
import json
import re
import resource
import sys
from collections.abc import Iterator
from typing import Any, cast

import av
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from stoker_orchestrator.adapters.clips.limits import (
    MAX_FRAMES,
    MAX_INPUT_BYTES,
    MAX_MEMORY_BYTES,
    MAX_OUTPUT_BYTES,
    MAX_PIXELS,
    MAX_SECONDS,
    UNUSABLE,
)

_PICTURE = re.compile(rb'"data:image/(png|jpeg);base64,([A-Za-z0-9+/]+={0,2})"')
_CODECS = {b"png": "png", b"jpeg": "mjpeg"}
_OPTIONS = {"preset": "veryfast", "crf": "18"}
_MOST_SEED = 2**63 - 1
_BT709, _TELEVISION = 1, 1
"""The numbers of BT.709 in H.264 (ITU-T H.264, annex E) and of the range 16 to 235 in FFmpeg."""
_INDEX_BYTES, _INDEX_BYTES_PER_FRAME = 4096, 64
"""Room for the index in front. The tables of a frame take at most 37 bytes: its size, two times, a chunk, its place, a key."""


class UnusableError(Exception):
    """The frames make no clip; the words say why."""


class Frames:
    """The pictures of an answer, found in it without a copy, and what stands beside the first."""

    def __init__(self, answer: bytes) -> None:
        self._answer = memoryview(answer)
        self._places: list[tuple[str, int, int]] = []
        skeleton = _PICTURE.sub(self._found, answer)
        self._items = _items(skeleton)

    def __len__(self) -> int:
        return len(self._items)

    def _found(self, match: re.Match[bytes]) -> bytes:
        self._places.append((_CODECS[match[1]], *match.span(2)))
        return b'"%d"' % (len(self._places) - 1)

    @property
    def about(self) -> dict[str, Any]:
        """Seed and flag of the clip, as each frame has them. A seed that no generator takes is none."""
        first = self._items[0]
        seed = first.get("seed")
        known = isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) <= _MOST_SEED
        return {"seed": seed if known else 0, "nsfw": any(item.get("nsfw") is True for item in self._items)}

    def pictures(self) -> Iterator[VideoFrame]:
        """One after the other, so that one at a time is in memory. Raises UnusableError."""
        for number, item in enumerate(self._items, 1):
            url = item.get("url")
            if not isinstance(url, str) or not url.isdigit() or int(url) >= len(self._places):
                message = f"frame {number} is no PNG or JPEG as a data URL"
                raise UnusableError(message)
            codec, start, end = self._places[int(url)]
            yield _decoded(codec, self._answer[start:end], number)


def _items(skeleton: bytes) -> list[dict[str, Any]]:
    try:
        batches = json.loads(skeleton)["frames"]
    except (ValueError, RecursionError, KeyError, TypeError):
        message = "the answer is not JSON with frames"
        raise UnusableError(message) from None
    if not isinstance(batches, list) or len(batches) != 1 or not isinstance(batches[0], list):
        message = "there must be one batch of frames"
        raise UnusableError(message)
    items = batches[0]
    if not 0 < len(items) <= MAX_FRAMES or not all(isinstance(item, dict) for item in items):
        message = f"there must be 1 to {MAX_FRAMES} frames"
        raise UnusableError(message)
    return items


def _decoded(codec: str, text: memoryview, number: int) -> VideoFrame:
    try:
        data = base64.b64decode(text, validate=True)
        context = cast("VideoCodecContext", av.CodecContext.create(codec, "r"))
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_count = 1
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    except (FFmpegError, binascii.Error, ValueError, MemoryError):
        frames = []
    if not frames or not isinstance(frames[0], VideoFrame):
        message = f"frame {number} cannot be decoded, or has more than {MAX_PIXELS} pixels"
        raise UnusableError(message)
    return frames[0]


def clip(frames: Frames, fps: int) -> bytes:
    """The MP4, H.264 with its index in front, of even width and height. Raises UnusableError.

    It is made in memory, so that nothing is left behind by a process that is killed. Its colours are BT.709 and say so.
    """
    size: tuple[int, int] | None = None
    out = io.BytesIO()
    room = str(_INDEX_BYTES + _INDEX_BYTES_PER_FRAME * len(frames))
    with av.open(out, "w", format="mp4", options={"moov_size": room}) as container:
        stream = container.add_stream("libx264", rate=fps, options=_OPTIONS)
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        _say_colours(stream.codec_context)
        for number, picture in enumerate(frames.pictures(), 1):
            if size is None:
                size = picture.width, picture.height
                stream.width, stream.height = (max(2, side - side % 2) for side in size)
            if (picture.width, picture.height) != size:
                message = f"frame {number} has another size than the first"
                raise UnusableError(message)
            even = picture.reformat(stream.width, stream.height, "yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")
            even.pts = None
            container.mux(stream.encode(even))
            if out.tell() > MAX_OUTPUT_BYTES:
                message = f"the video has more than {MAX_OUTPUT_BYTES} bytes"
                raise UnusableError(message)
        container.mux(stream.encode())
    return out.getvalue()


def _say_colours(context: VideoCodecContext) -> None:
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _TELEVISION


def main() -> int:
    """Make one clip."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    try:
        frames = Frames(sys.stdin.buffer.read(MAX_INPUT_BYTES))
        made = clip(frames, int(sys.argv[1]))
    except (UnusableError, MemoryError, FFmpegError) as error:
        words = str(error) if isinstance(error, UnusableError) else "they need more memory than a clip may, or cannot be encoded"
        sys.stdout.write(words)
        return UNUSABLE
    sys.stdout.buffer.write(json.dumps(frames.about).encode() + b"\n")
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
