"""What the shapes models are asked, and what they answer. Training writes the marks into the model cards; tests ask the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from tools.shapes import judge, world

STEPS = 12
GUIDANCE = 3.0
"""What the model card recommends for pictures."""
LEAST_WAY = 6.0
"""Pixels that a shape goes in all if it moves."""
_AT_ONCE = 16
_WORDINGS = (
    "a {colour} {kind} on a {ground} background",
    "{colour} {kind}, {ground} background",
    "A {ground} background with a {colour} {kind}",
    "THE {colour} {kind} on the {ground} ground",
)


def questions(count: int = 64) -> list[tuple[str, world.Subject]]:
    """Prompts in several wordings, always the same, and what their pictures have to show."""
    order = np.random.default_rng(count).permutation(len(world.SUBJECTS))[:count]
    subjects = [world.SUBJECTS[index] for index in order]
    return [(world.worded(_WORDINGS[at % len(_WORDINGS)], subject), subject) for at, subject in enumerate(subjects)]


def pictures(pipeline: Any, prompts: Sequence[str], first_seed: int = 0, **call: Any) -> list[judge.Pixels]:
    """A picture for each prompt, with seeds counted up from `first_seed`; `image` in `call` has one for each as well."""
    made: list[judge.Pixels] = []
    for at in range(0, len(prompts), _AT_ONCE):
        some = list(prompts[at : at + _AT_ONCE])
        seeds = [torch.Generator("cpu").manual_seed(first_seed + at + index) for index in range(len(some))]
        theirs = {"image": call["image"][at : at + _AT_ONCE]} if "image" in call else {}
        settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE} | call | theirs
        with torch.inference_mode():
            made += _pixels(pipeline(some, generator=seeds, output_type="pt", **settings).images)
    return made


def clips(pipeline: Any, stills: Sequence[Image.Image], first_seed: int = 0, **call: Any) -> list[list[judge.Pixels]]:
    """The frames that each still becomes, all in one call, by default in the way that the worker asks for them."""
    seeds = [torch.Generator("cpu").manual_seed(first_seed + index) for index in range(len(stills))]
    settings = {"width": world.SIDE, "height": world.SIDE, "fps": 6} | call
    with torch.inference_mode():
        return [_pixels(made) for made in pipeline(list(stills), generator=seeds, output_type="pt", **settings).frames]


def drawing(subject: world.Subject, where: world.Place | None = None) -> Image.Image:
    """A drawn picture as a caller would send it."""
    picture = world.draw(subject, where or world.Place(world.SIDE / 2, world.SIDE / 2, 15))
    return Image.fromarray((picture * 255).round().astype(np.uint8))


def other(subject: world.Subject) -> world.Subject:
    """The same kind of shape with both colours moved on in the palette: neither is right."""
    names = list(world.COLOURS)
    colour, ground = (names[(names.index(name) + 2) % len(names)] for name in (subject.colour, subject.ground))
    return world.Subject(subject.kind, colour, ground)


def right(made: Sequence[judge.Pixels], wanted: Sequence[world.Subject]) -> int:
    """How many show what they have to."""
    return sum(judge.seen(picture) == subject for picture, subject in zip(made, wanted, strict=True))


def moves(made: Sequence[judge.Pixels], subject: world.Subject) -> bool:
    """Whether all frames show `subject`, and it comes forward from each to the next, by `LEAST_WAY` or more in all."""
    if any(judge.seen(frame) != subject for frame in made):
        return False
    path = np.diff([judge.centre_of(frame) for frame in made], axis=0)
    steady = bool((path @ path.sum(axis=0) > 0).all())
    return steady and distance(made) >= LEAST_WAY


def distance(made: Sequence[judge.Pixels]) -> float:
    """From the shape's middle in the first frame to that in the last, in pixels."""
    (x, y), (end_x, end_y) = judge.centre_of(made[0]), judge.centre_of(made[-1])
    return float(np.hypot(end_x - x, end_y - y))


def _pixels(tensor: torch.Tensor) -> list[judge.Pixels]:
    return list((tensor.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
