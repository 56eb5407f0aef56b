"""Make the pictures of the page about the shapes models with the weights of the repository: ``python -m tools.shapes.pictures``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tools.shapes import card, exam, judge, world

_ROOT = Path(__file__).resolve().parents[2]
_MODELS = _ROOT / "worker-image/models"
_FOLDER = _ROOT / "docs/pictures"
_GAP = 4
"""White pixels between pictures."""
_PROMPTS = (
    "a red circle on a blue background",
    "yellow triangle, purple background",
    "a white background with a green square",
    "a black triangle on an orange background",
    "an orange circle on a green background",
    "the purple square on the yellow ground",
)
_STILL = world.Subject("square", "yellow", "green")


def main() -> int:
    """Six pictures from words, three from a picture with words, and a clip."""
    painter, redrawer = card.loaded_for_pictures(_MODELS / card.PICTURES)
    still = exam.drawing(_STILL)
    _write("shapes-words", exam.pictures(painter, _PROMPTS))
    redrawn = exam.pictures(redrawer, _PROMPTS[:3], image=[still] * 3, strength=0.8)
    _write("shapes-redrawn", [np.asarray(still), *redrawn])
    _write("shapes-clip", exam.clips(card.loaded_for_clips(_MODELS / card.CLIPS), [still])[0])
    return 0


def _write(name: str, row: list[judge.Pixels]) -> None:
    framed: list[Any] = [np.pad(picture, ((0, 0), (0, _GAP), (0, 0)), constant_values=255) for picture in row]
    Image.fromarray(np.concatenate(framed, axis=1)[:, :-_GAP]).save(_FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
