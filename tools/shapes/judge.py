"""Says what a picture shows by its pixels: the kind of shape, its colour, the colour of the ground. Needs numpy alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tools.shapes.world import COLOURS, KINDS, Floats, Subject

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_RIM = 2
"""Pixels at the edge that show the ground."""
_NEAR = 0.85
"""Share of its box in which a shape must agree with the ideal one."""
_CLEAN = 0.9
"""Share of rim that has the ground's colour, and of the shape's pixels that have the shape's."""
_ALIKE = 90.0
"""Largest distance of a colour from its name, as a length in 0..255 RGB."""
_SMALLEST = 50
"""Pixels of a shape that is no speck."""


def seen(picture: Pixels) -> Subject | None:
    """What `picture` (height × width × 3, RGB) shows; None when it is no clean shape on clean ground."""
    ground = _name(_rim(picture))
    shape = shape_of(picture)
    if ground is None or shape.sum() < _SMALLEST:
        return None
    colour, kind = _name(picture[_inside(shape)]), _kind(shape)
    if colour is None or kind is None or colour == ground:
        return None
    return Subject(kind, colour, ground)


def shape_of(picture: Pixels) -> Mask:
    """The pixels that are nearer to the colour of what is not ground than to the ground's; none where there is only ground."""
    ground = np.median(_rim(picture), axis=0)
    away = np.linalg.norm(picture - ground, axis=-1)
    other = away > _ALIKE / 2
    if not other.any():
        return np.zeros(picture.shape[:2], bool)
    colour = np.median(picture[other], axis=0)
    nearer: Mask = np.linalg.norm(picture - colour, axis=-1) < away
    return nearer


def centre_of(picture: Pixels) -> tuple[float, float]:
    """The middle of the shape, x and y in pixels. Raises ValueError where there is none."""
    rows, columns = np.nonzero(shape_of(picture))
    if not len(rows):
        message = "the picture shows ground alone"
        raise ValueError(message)
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5)


def _rim(picture: Pixels) -> Pixels:
    inside = np.zeros(picture.shape[:2], bool)
    inside[_RIM:-_RIM, _RIM:-_RIM] = True
    return picture[~inside]


def _inside(shape: Mask) -> Mask:
    """`shape` without its outermost pixels, which have a share of the ground's colour."""
    padded = np.pad(shape, 1)
    inside: Mask = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & shape
    return inside


def _name(pixels: Pixels) -> str | None:
    """The colour that nearly all of `pixels` have."""
    palette = np.array(list(COLOURS.values()), np.float32)
    distances = np.linalg.norm(pixels[:, None].astype(np.float32) - palette, axis=-1)
    named = np.where(distances.min(axis=1) < _ALIKE, distances.argmin(axis=1), len(palette))
    counts = np.bincount(named, minlength=len(palette) + 1)[: len(palette)]
    return list(COLOURS)[counts.argmax()] if counts.max() > _CLEAN * len(pixels) else None


def _kind(shape: Mask) -> str | None:
    """The kind whose ideal shape in the same box agrees with most pixels."""
    rows, columns = np.nonzero(shape.any(axis=1))[0], np.nonzero(shape.any(axis=0))[0]
    box = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    down = ((np.arange(box.shape[0]) + 0.5) / box.shape[0] * 2 - 1)[:, None].astype(np.float32)
    right = ((np.arange(box.shape[1]) + 0.5) / box.shape[1] * 2 - 1)[None, :].astype(np.float32)
    agreement = {kind: float((_IDEALS[kind](right, down) == box).mean()) for kind in KINDS}
    best = max(agreement, key=lambda kind: agreement[kind])
    return best if agreement[best] >= _NEAR else None


_IDEALS: dict[str, Callable[[Floats, Floats], Mask]] = {
    "circle": lambda right, down: right**2 + down**2 < 1,
    "square": lambda right, down: np.broadcast_to(True, np.broadcast_shapes(right.shape, down.shape)),  # noqa: FBT003
    "triangle": lambda right, down: abs(right) < (down + 1) / 2,
}
"""In a box from -1 to 1, y downwards."""
