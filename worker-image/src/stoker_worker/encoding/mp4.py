"""H.264 in MP4, by PyAV."""

import io
from collections.abc import Sequence
from typing import Any

from stoker_worker.engine.protocol import Pixels

_SMALL = {"preset": "veryfast", "crf": "18"}
_LOSSLESS = {"preset": "veryfast", "qp": "0"}
_BT709 = 1
"""The number of BT.709 wherever H.264 asks for primaries, transfer and matrix (ITU-T H.264, annex E)."""
_TELEVISION = 1
"""FFmpeg's number of the range 16 to 235."""
_INDEX_BYTES, _INDEX_BYTES_PER_FRAME = 4096, 64
"""Room for the index in front. The tables of a frame take at most 37 bytes: its size, two times, a chunk, its place, a key."""


def encode_mp4(frames: Sequence[Pixels], fps: int, *, lossless: bool = False) -> bytes:
    """Frames of one even size as an MP4 that starts to play before it is whole, made in memory.

    Room for the index is left at its beginning; `+faststart` would reopen the output by a name that it does not have. Colours
    are BT.709 and say so: players guess for what says nothing, by its height. `lossless` keeps every bit of the luma and
    colour of each pixel (H.264's profile for that is nothing that a browser plays).
    """
    import av  # noqa: PLC0415 - 60 ms and 30 MB that a worker without video need not pay

    height, width, _ = frames[0].shape
    out = io.BytesIO()
    room = str(_INDEX_BYTES + _INDEX_BYTES_PER_FRAME * len(frames))
    with av.open(out, "w", format="mp4", options={"moov_size": room}) as container:
        stream = container.add_stream("libx264", rate=fps, options=_LOSSLESS if lossless else _SMALL)
        stream.width, stream.height, stream.thread_count = width, height, 1
        stream.pix_fmt = "yuv444p" if lossless else "yuv420p"
        _say_colours(stream.codec_context)
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt, dst_colorspace="itu709")))
        container.mux(stream.encode())
    return out.getvalue()


def _say_colours(context: Any) -> None:
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _TELEVISION
