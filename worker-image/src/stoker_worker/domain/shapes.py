"""Sizes of batches that a worker is told to be ready for."""

import re
from dataclasses import dataclass

_SHAPE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})(?:x([1-9]\d?))?")


@dataclass(frozen=True, slots=True)
class Shape:
    """A batch of `rows` pictures or videos of one size in pixels."""

    width: int
    height: int
    rows: int = 1

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.rows}"


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """The shapes of a comma list such as ``1024x576,512x512x4``. Raises ValueError in words."""
    return tuple(_shape(word.strip()) for word in text.split(",") if word.strip())


def _shape(word: str) -> Shape:
    found = _SHAPE.fullmatch(word)
    if found is None:
        message = f"{word[:40]!r} is no shape; write WIDTHxHEIGHT, or WIDTHxHEIGHTxROWS with 1 to 99 rows"
        raise ValueError(message)
    width, height, rows = found.groups(default="1")
    return Shape(int(width), int(height), int(rows))
