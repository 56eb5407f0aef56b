"""The first calls of a pipeline, made before anybody waits: libraries choose and compile their kernels in them."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from pydantic import ValidationError

from stoker_contracts.jobs import REQUESTS, ImageToImage, Job
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_worker.domain.shapes import Shape
from stoker_worker.engine.protocol import EngineError, Row, StageHook, Steps

log = logging.getLogger(__name__)

_STEPS = 2
"""The first step prepares what the second one uses."""
_UNNAMED = Shape(1024, 576)
"""The size of a job that names none."""


class Unheard:
    """Nobody waits for these rows, and nobody leaves."""

    def stepped(self) -> frozenset[int]:
        """All rows go on."""
        return frozenset()


def hot_shapes(asked: Sequence[Shape], device: str) -> Sequence[Shape]:
    """What to run before the first job: the shapes asked for, else on a card one job that names no size.

    A CPU has no kernels to choose, and its first call costs no more than the others.
    """
    return asked or ((_UNNAMED,) if device == "cuda" else ())


def warm_up(run: Callable[[Sequence[Row], Steps], Any], pipeline: Pipeline, shapes: Sequence[Shape], stage: StageHook) -> None:
    """Run each shape once. One that fails is told in the log and leaves the others and the start as they are."""
    began = time.monotonic()
    for shape in shapes:
        try:
            run(made_up_rows(pipeline, shape), Unheard())
        except (EngineError, ValidationError) as error:
            words = "its size is out of bounds" if isinstance(error, ValidationError) else str(error)
            log.warning("the worker could not be warmed up for %s: %s", shape, words)
    stage("warm_up", time.monotonic() - began)


def made_up_rows(pipeline: Pipeline, shape: Shape) -> list[Row]:
    """A batch of this shape that says nothing. Raises ValidationError for sizes that no job may ask for."""
    job = REQUESTS[pipeline].model_validate(_fields(pipeline, shape))
    image = Image.new("RGB", (shape.width, shape.height), "gray") if FACTS[pipeline].takes_image else None
    return [Row(job, seed, image) for seed in range(shape.rows)]


def _fields(pipeline: Pipeline, shape: Shape) -> dict[str, Any]:
    fields: dict[str, Any] = {"num_inference_steps": _STEPS}
    known: type[Job] = REQUESTS[pipeline]
    if "prompt" in known.model_fields:
        fields["prompt"] = "warm up"
    return fields if known is ImageToImage else fields | {"width": shape.width, "height": shape.height}
