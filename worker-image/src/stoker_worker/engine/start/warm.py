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
from stoker_worker.engine.protocol import EngineError, FatalEngineError, Outcome, Row, StageHook, Steps, Unheard

Run = Callable[[Sequence[Row], Steps], Outcome]
"""How a batch is run."""

log = logging.getLogger(__name__)

_STEPS = 2
"""The first step prepares what the second one uses; by a strength of 1 a picture made of one has both."""
_UNNAMED = Shape(1024, 576)
"""The size of a job that names none."""


def hot_shapes(asked: Sequence[Shape], device: str) -> Sequence[Shape]:
    """What to run before the first job: the shapes asked for, else on a card one job that names no size.

    A CPU has no kernels to choose, and its first call costs no more than the others.
    """
    return asked or ((_UNNAMED,) if device == "cuda" else ())


def warm_up(run: Run, pipeline: Pipeline, shapes: Sequence[Shape], stage: StageHook, times: int = 1) -> None:
    """Run each shape so many times. One that fails is told in the log, once, and leaves the others and the start as they are.

    Raises FatalEngineError where the engine is lost.
    """
    began = time.monotonic()
    for shape in shapes:
        failure = next((words for _ in range(times) if (words := _failure(run, pipeline, shape)) is not None), None)
        if failure is not None:
            log.warning("the worker could not be warmed up for %s: %s", shape, failure)
    stage("warm_up", time.monotonic() - began)


def _failure(run: Run, pipeline: Pipeline, shape: Shape) -> str | None:
    """Why a shape cannot be run, in words; None once it was."""
    try:
        made = run(made_up_rows(pipeline, shape), Unheard()).rows
    except FatalEngineError:
        raise
    except ValidationError:
        return "no job may ask for this size"
    except EngineError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a model can fail in any way, and may yet do what jobs ask for
        return type(error).__name__
    return next((str(row) for row in made if isinstance(row, EngineError)), None)


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
    if known is ImageToImage:
        return fields | {"strength": 1.0}
    return fields | {"width": shape.width, "height": shape.height}
