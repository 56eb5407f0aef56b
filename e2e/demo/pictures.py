"""Whether the demonstration's pictures show what was asked for."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from e2e.demo.jobs import DemoError, Result
from tools.shapes.judge import Pixels, centre_of, seen
from tools.shapes.world import Subject

_ASKED = {
    "text-to-image": Subject("circle", "red", "blue"),
    "image-to-image": Subject("circle", "yellow", "green"),
    "image-to-video": Subject("circle", "red", "blue"),
}
_MOVED = 4.0
"""Pixels that a shape must move between the first and the last frame."""


def check(results: Sequence[Result]) -> Sequence[Result]:
    """Return `results` as they are, if their pictures show what was asked for. Raises DemoError."""
    for result in results:
        frames = _frames(result.file)
        shown, asked = seen(frames[0]), _ASKED[result.pipeline]
        if shown != asked:
            message = f"{result.file} shows {shown or 'nothing clear'} instead of {asked}"
            raise DemoError(message)
        if len(frames) > 1 and np.hypot(*np.subtract(centre_of(frames[-1]), centre_of(frames[0]))) < _MOVED:
            message = f"nothing moves in {result.file}"
            raise DemoError(message)
    return results


def _frames(file: Path) -> list[Pixels]:
    if file.suffix == ".png":
        return [np.asarray(Image.open(file).convert("RGB"))]
    with av.open(str(file)) as clip:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in clip.decode(video=0)]
