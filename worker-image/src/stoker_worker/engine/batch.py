"""A batch of rows through a loaded pipeline: the call's arguments, its steps, and pictures of its tensors."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from stoker_contracts.jobs import ImageToVideo, Job
from stoker_worker.engine.families import Family
from stoker_worker.engine.pipeline import Loaded
from stoker_worker.engine.protocol import BrokenResultError, EngineError, Made, Row, Steps


def batch_key(row: Row, family: Family) -> Hashable:
    """What rows must share to run in one call."""
    return family, id(row)


def run_batch(loaded: Loaded, family: Family, rows: Sequence[Row], steps: Steps) -> list[Made | EngineError]:
    """Make the rows, one after the other."""
    return [_made(loaded, family, row, steps) for row in rows]


def _made(loaded: Loaded, family: Family, row: Row, steps: Steps) -> Made:
    generator = loaded.torch.Generator("cpu").manual_seed(row.seed)
    call = arguments(row, family) | {
        "generator": generator,
        "output_type": "pt",
        "callback_on_step_end": _step_callback(steps),
    }
    with loaded.torch.inference_mode():
        result = loaded.pipe(**{key: value for key, value in call.items() if key in loaded.accepted})
        tensor = result.frames[0] if isinstance(row.job, ImageToVideo) else result.images
        return pixels(loaded.torch, tensor)


def arguments(row: Row, family: Family) -> dict[str, Any]:
    """What the pipeline is called with for `row`."""
    given = _fields(row.job)
    if given.get("num_inference_steps") == 0:
        given["num_inference_steps"] = max(family.default_steps, math.ceil(1 / given.get("strength", 1.0)))
    if family.unguided and "guidance_scale" in given:
        given["guidance_scale"] = 0.0
    if row.image is not None:
        given["image"] = row.image
    return given


def pixels(torch: Any, tensor: Any) -> Made:
    """Pictures × channels × height × width in 0..1, as bytes. A result that is no number is an error, not a black picture."""
    if not bool(torch.isfinite(tensor).all()):
        message = "the model produced values that are no numbers; try another seed or size"
        raise BrokenResultError(message)
    scaled = tensor.float().mul(255).round().clamp(0, 255).to(torch.uint8)
    return list(np.ascontiguousarray(scaled.permute(0, 2, 3, 1).cpu().numpy()))


def _fields(job: Job) -> dict[str, Any]:
    """What a job says to the pipeline; the rest is the worker's business."""
    ours = {"model_id", "safety_check", "seed", "num_images_per_prompt", "output_format"}
    return {key: value for key, value in job.model_dump().items() if key not in ours}


def _step_callback(steps: Steps) -> Any:
    def after_step(_pipe: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.stepped()
        return tensors

    return after_step
