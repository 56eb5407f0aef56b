"""What an engine is to the rest of the worker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from stoker_contracts.jobs import Job
from stoker_contracts.worker import ExitReason, GpuInfo

Pixels = NDArray[np.uint8]
"""One picture: height × width × 3, RGB."""

StepHook = Callable[[], None]
"""Called by the engine after each denoising step; raises :class:`CancelledError` when the job is to stop."""


class EngineError(Exception):
    """An engine could not do what it was asked; the worker lives on."""


class CancelledError(EngineError):
    """The job's caller is gone."""


class RefusedError(EngineError):
    """The model does not take this job; the text says why."""


class OutOfMemoryError(EngineError):
    """The job needs more memory than there is; the model is usable again."""


class BrokenResultError(EngineError):
    """The result is no picture (not a number); the model is usable."""


class FatalEngineError(Exception):
    """The engine cannot go on; the process must end. `reason` and the text become its termination message."""

    def __init__(self, reason: ExitReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Task:
    """One job as an engine sees it; `seed` is settled, `image` is decoded and upright."""

    job: Job
    seed: int
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """The pictures of a job, in order; for a video its frames. `seeds` has one seed for each picture, or one for the video."""

    pictures: list[Pixels]
    seeds: list[int]


class Engine(Protocol):
    """Loads one model and runs it. All calls but `hardware` come from one thread, one after the other."""

    def load(self) -> None:
        """Bring the model into memory. Raises FatalEngineError with the reason in words."""

    def run(self, task: Task, step: StepHook) -> Output:
        """Run one job. Raises EngineError for the job's own failures and FatalEngineError when the engine is lost."""

    def hardware(self) -> dict[str, GpuInfo]:
        """The cards in use, by index."""

    def utilization(self) -> dict[str, Any]:
        """Load of the cards in percent, by index."""
