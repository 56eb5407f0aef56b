"""What a job costs, as far as its request declares it."""

from collections.abc import Mapping
from typing import Any

from stoker_contracts.pipelines import Pipeline

_FRAMES = 25
"""Frames of a video whose request names none (Stable Video Diffusion XT)."""
_STEPS = {Pipeline.TEXT_TO_IMAGE: 50, Pipeline.IMAGE_TO_IMAGE: 100, Pipeline.IMAGE_TO_VIDEO: 25}
_MEGAPIXEL = 1_000_000


def declared_cost(pipeline: Pipeline, fields: Mapping[str, Any]) -> float:
    """Steps × megapixels × images × frames. What a request leaves out, or says badly, counts as Livepeer's default."""
    steps = _number(fields, "num_inference_steps", _STEPS[pipeline])
    pixels = _number(fields, "width", 1024) * _number(fields, "height", 576)
    images = _number(fields, "num_images_per_prompt", 1)
    frames = _FRAMES if pipeline is Pipeline.IMAGE_TO_VIDEO else 1
    strength = _number(fields, "strength", 0.8) if pipeline is Pipeline.IMAGE_TO_IMAGE else 1.0
    return steps * strength * pixels / _MEGAPIXEL * images * frames


def _number(fields: Mapping[str, Any], key: str, default: float) -> float:
    given = fields.get(key)
    if given is None:
        return default
    try:
        value = float(given)
    except (TypeError, ValueError):
        return default
    return value if 0 < value < _MEGAPIXEL else default
