"""The world that the shapes model knows: one shape of one colour on ground of another, and how it is said in words.

Pictures are drawn from formulas, so there is no data set. Needs numpy alone.
"""

from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 64
"""Width and height of a picture, in pixels."""
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 220),
    "yellow": (240, 220, 50),
    "orange": (240, 130, 30),
    "purple": (140, 50, 180),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
KINDS = ("circle", "square", "triangle")
_SQUARE = 0.9
"""Half a square's side in units of the radius, so that the kinds look equally large."""
_TRIANGLE = 1.35
"""Distance of a triangle's corners from its centre in units of the radius."""
_WAYS = (
    "a {colour} {kind} on a {ground} background",
    "a {colour} {kind} on a {ground} background",
    "{colour} {kind} on a {ground} background",
    "{colour} {kind} on {ground}",
    "{colour} {kind}, {ground} background",
    "the {colour} {kind} on the {ground} ground",
    "a {colour} {kind} in front of a {ground} background",
    "a {ground} background with a {colour} {kind}",
    "{ground} background, {colour} {kind}",
    "a picture of a {colour} {kind} on a {ground} background",
)
_VAGUE_WAYS = (
    "a {colour} {kind}",
    "{colour} {kind}",
    "a {kind} on a {ground} background",
    "a {kind}",
    "a {ground} background",
    "something {colour} on a {ground} background",
)
"""Prompts that leave something open."""
_FILLERS = ("nice", "big", "small", "simple", "photo", "drawing", "image", "and", "is", "there", "very", "shape", "please")
"""Words that change nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a picture shows, in words of `KINDS` and `COLOURS`."""

    kind: str
    colour: str
    ground: str

    @property
    def prompt(self) -> str:
        """The plainest way to ask for it."""
        return worded(_WAYS[0], self)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shape lies, in pixels."""

    x: float
    y: float
    radius: float


SUBJECTS = tuple(Subject(kind, colour, ground) for kind in KINDS for colour in COLOURS for ground in COLOURS if colour != ground)


def worded(way: str, subject: Subject) -> str:
    """The sentence, with "an" where English wants it."""
    text = way.format(kind=subject.kind, colour=subject.colour, ground=subject.ground)
    return text.replace("a orange", "an orange")


def caption(subject: Subject, chance: np.random.Generator) -> str:
    """One of many ways to describe `subject`; one in eight leaves something open, one in five has a word too much."""
    ways = _VAGUE_WAYS if chance.random() < 1 / 8 else _WAYS
    words = worded(ways[chance.integers(len(ways))], subject).split(" ")
    if chance.random() < 1 / 5:
        words.insert(int(chance.integers(len(words) + 1)), _FILLERS[chance.integers(len(_FILLERS))])
    return " ".join(words)


def loose_caption(subject: Subject, chance: np.random.Generator) -> str:
    """As `caption`, but half the time with words that nobody knows, and often without a comma."""
    text = caption(subject, chance)
    parts = (text.replace(",", "") if chance.random() < 1 / 2 else text).split(" ")
    if chance.random() < 1 / 2:
        for _ in range(chance.integers(1, 3)):
            parts.insert(int(chance.integers(len(parts) + 1)), _unknown_word(chance))
    return " ".join(parts)


def _unknown_word(chance: np.random.Generator) -> str:
    return "".join(ascii_lowercase[index] for index in chance.integers(len(ascii_lowercase), size=chance.integers(2, 8)))


def words() -> list[str]:
    """Every word of the captions, once."""
    said = {worded(way, subject) for way in (*_WAYS, *_VAGUE_WAYS) for subject in SUBJECTS}
    return sorted({word for text in (*said, *_FILLERS) for word in text.replace(",", " ,").split()})


def place(chance: np.random.Generator) -> Place:
    """Somewhere about the middle, never so far off that the shape would leave the middle free."""
    x, y = chance.uniform(-3, 3, 2) + SIDE / 2
    return Place(float(x), float(y), float(chance.uniform(12, 18)))


def draw(subject: Subject, where: Place) -> Floats:
    """The picture, height × width × 3 in 0..1, with soft edges of one pixel."""
    return paint(subject.kind, rgb(subject.colour), rgb(subject.ground), where)


def paint(kind: str, colour: Floats, ground: Floats, where: Place, side: int = SIDE) -> Floats:
    """As `draw`, in any colours (3 numbers in 0..1 each) and any size."""
    cover = np.clip(0.5 - _distance(kind, where, side), 0, 1)[..., None]
    picture: Floats = (cover * colour + (1 - cover) * ground).astype(np.float32)
    return picture


def rgb(colour: str) -> Floats:
    """A colour of the palette, in 0..1."""
    return np.array(COLOURS[colour], np.float32) / np.float32(255)


def _distance(kind: str, where: Place, side: int) -> Floats:
    """Of each pixel's middle to the shape's edge, in pixels, below 0 inside."""
    middles = np.arange(side, dtype=np.float32) + 0.5
    right, down = middles[None, :] - where.x, middles[:, None] - where.y
    distance: Floats
    if kind == "circle":
        distance = np.hypot(right, down) - where.radius
    elif kind == "square":
        distance = np.maximum(abs(right), abs(down)) - _SQUARE * where.radius
    else:
        distance = np.maximum(np.sqrt(3) / 2 * abs(right) - down / 2, down) - _TRIANGLE / 2 * where.radius
    return distance
