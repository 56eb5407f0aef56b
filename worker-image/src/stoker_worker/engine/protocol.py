"""What an engine is to the rest of the worker."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from stoker_contracts.jobs import ImageToVideo, Job, TextToImage, seed_after
from stoker_contracts.uploads import MIN_SIDE
from stoker_contracts.worker import ExitReason, GpuInfo

Pixels = NDArray[np.uint8]
"""One picture: height × width × 3, RGB."""

StageHook = Callable[[str, float], None]
"""Told the name of each stage of a start once it is over, and the seconds that it took."""


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
    """One job as it is asked for; `seed` is settled, `image` is decoded and upright, `deadline` is one of ``time.monotonic``."""

    job: Job
    seed: int
    image: Image | None = None
    deadline: float | None = None

    def rows(self) -> list["Row"]:
        """What is to be made: a video, or pictures with the seeds seed, seed + 1, ... as Livepeer's runner has it.

        Behind the largest seed comes 0, so that a job may ask for each of them again.
        """
        return [Row(self.job, seed_after(self.seed, index), self.image) for index in range(self.job.rows)]


@dataclass(frozen=True, slots=True)
class Row:
    """One picture or one video: the unit that batches are made of."""

    job: Job
    seed: int
    image: Image | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is made: those that the job names, else its image's."""
        if isinstance(self.job, TextToImage | ImageToVideo):
            return self.job.width, self.job.height
        return self.image.size if self.image is not None else (MIN_SIDE, MIN_SIDE)


@dataclass(frozen=True, slots=True)
class Output:
    """The pictures of a job, in order; for a video its frames. `seeds` has one seed for each picture, or one for the video.

    `nsfw` are the places in `seeds` of what the model's own checker has blackened.
    """

    pictures: list[Pixels]
    seeds: list[int]
    nsfw: frozenset[int] = frozenset()


Made = list[Pixels]
"""What became of one row: its picture, or the frames of its video."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch, by row; one row's error leaves the others as they are.

    `peak_bytes` is the most memory that the device held meanwhile, weights included; 0 where that is not known. `nsfw` are the rows
    that the model's own checker has blackened, where it has one.
    """

    rows: list[Made | EngineError]
    peak_bytes: int = 0
    nsfw: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of a loaded model, in bytes: its weights, and what the worker may use in all (None: there is no bound)."""

    weights: int = 0
    budget: int | None = None


class GraphDecision(StrEnum):
    """What becomes of calls of one form (``engine.speed.graphs``): all but the first run as they are."""

    REPLAYED = "replayed"
    """They are recorded, and replayed from now on."""
    NO_GAIN = "no_gain"
    """A replay would save next to nothing."""
    SATURATED = "saturated"
    """The device is busy all the time as it is."""
    DIFFERS = "differs"
    """A replay gives another result."""
    UNRECORDABLE = "unrecordable"
    MOVES = "moves"
    """Their weights move between calls."""


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """Recorded calls of one part of a pipeline: how many are held now, and how often what was decided in the engine's life."""

    held: int
    decided: Mapping[GraphDecision, int]


class Steps(Protocol):
    """The scheduler's ear while a batch runs, on the engine's thread."""

    def stepped(self) -> frozenset[int]:
        """To be called after each denoising step: tells which rows, by index, have lost their callers.

        The engine leaves them out from then on where it can. Raises CancelledError when no row has a caller.
        """


class Unheard:
    """The ear of a batch that nobody watches: no row has a caller who could leave."""

    def stepped(self) -> frozenset[int]:
        """All rows go on."""
        return frozenset()


class Engine(Protocol):
    """Loads one model and runs it. `load` and `run`, `park`, `unpark` and `graphs` come from one thread, one after the other."""

    @property
    def lossy(self) -> tuple[str, ...]:
        """The switches in force that may change a picture; each answer names them."""

    def load(self, stage: StageHook) -> Footprint:
        """Bring the model into memory. Raises FatalEngineError with the reason in words."""

    def key(self, row: Row) -> Hashable:
        """Rows with equal keys may run in one batch. Needs no loaded model and is called from any thread."""

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        """Run a batch of rows with one key. A row's result does not depend on its neighbours.

        Raises EngineError where the whole batch failed (OutOfMemoryError: a smaller one may do), CancelledError where
        nobody waits for it any more, and FatalEngineError when the engine is lost.
        """

    def park(self) -> bool:
        """Move the weights off the device, to be back faster than by a load; False where they stay, at least for now."""

    def unpark(self) -> None:
        """Bring parked weights back. Raises FatalEngineError."""

    def graphs(self) -> Mapping[str, GraphFigures]:
        """Recorded calls by part of the pipeline, such as ``unet``; empty where nothing is recorded."""

    def hardware(self) -> dict[str, GpuInfo]:
        """The cards in use, by index. Called from any thread."""

    def utilization(self) -> dict[str, Any]:
        """Load of the cards in percent, by index. Called from any thread."""
