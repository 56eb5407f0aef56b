"""From rows to the arguments of one pipeline call, and what rows must share to be in one."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

from stoker_contracts.jobs import ImageToImage, Job
from stoker_worker.engine.families import Family
from stoker_worker.engine.protocol import Row

_OURS = {"model_id", "safety_check", "seed", "num_images_per_prompt", "output_format"}
"""What a job says to the worker and not to the pipeline."""
_OWN = ("prompt", "negative_prompt", "image")
"""Arguments of which each row of a batch has its own; all others hold for the whole call."""


def batch_key(row: Row, family: Family) -> Hashable:
    """What rows must share to run in one call: all but their words, their seeds and what their images show."""
    if not family.batches:
        return family.name, id(row)
    given = _given(row, family)
    size = row.image.size if row.image is not None else None
    return family.name, size, tuple(sorted((name, value) for name, value in given.items() if name not in _OWN))


def arguments(rows: Sequence[Row], family: Family) -> dict[str, Any]:
    """What the pipeline is called with for rows with one key: lists of what each has for itself, where the family batches."""
    given = [_given(row, family) for row in rows]
    if not family.batches:
        return given[0]
    return given[0] | {name: [each[name] for each in given] for name in _OWN if name in given[0]}


def _given(row: Row, family: Family) -> dict[str, Any]:
    asked = {family.names.get(name, name): value for name, value in row.job.model_dump(exclude=_OURS).items()}
    given = dict(family.always) | asked | {"num_inference_steps": _steps(row.job, family)}
    if family.prompt_tokens is not None:
        given["max_sequence_length"] = family.prompt_tokens
    if family.frames is not None:
        given["num_frames"] = family.frames
    if family.unguided:
        given["guidance_scale"] = 0.0
    if row.image is not None:
        given["image"] = row.image
    if row.image is not None and isinstance(row.job, ImageToImage):
        given["width"], given["height"] = row.image.size
    return given


def _steps(job: Job, family: Family) -> int:
    """The steps asked for; where that is 0 the family's own, and enough for one to be left by the strength."""
    if job.num_inference_steps > 0:
        return job.num_inference_steps
    enough = math.ceil(1 / job.share)
    return max(family.default_steps, enough if int(enough * job.share) else enough + 1)
