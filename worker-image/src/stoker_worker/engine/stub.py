"""An engine without torch: scripted load time, step time, output and faults. For tests, demos and capacity planning."""

import hashlib
import os
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stoker_contracts.jobs import ImageToVideo, Job, PromptedJob
from stoker_contracts.worker import ExitReason, GpuInfo
from stoker_worker.engine.protocol import (
    BrokenResultError,
    CancelledError,
    EngineError,
    FatalEngineError,
    Footprint,
    GraphFigures,
    Made,
    Outcome,
    OutOfMemoryError,
    Pixels,
    RefusedError,
    Row,
    StageHook,
    Steps,
)

FRAMES = 8
"""Frames of a stub video."""
KILLED = 128 + 9
"""Exit code with which Kubernetes shows a process that was ended by SIGKILL."""
_SLICE_SECONDS = 0.1


class Fault(StrEnum):
    """What goes wrong."""

    NONE = "none"
    CRASH_AT_LOAD = "crash_at_load"
    CRASH_AT_STEP = "crash_at_step"
    OUT_OF_MEMORY = "out_of_memory"
    HANG = "hang"
    IGNORE_SIGTERM = "ignore_sigterm"


class StubScript(BaseModel):
    """How the stub behaves; the JSON in ``STUB_SCRIPT``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    load_seconds: float = Field(default=0.0, ge=0)
    step_seconds: float = Field(default=0.01, ge=0)
    slow_factor: float = Field(default=1.0, gt=0, description="Multiplies the step time.")
    fault: Fault = Fault.NONE
    fault_at_step: int = Field(default=1, ge=1)
    load_error: str = Field(default="", description="Fail to load with these words.")
    weights_missing: bool = False
    row_share: float = Field(default=1.0, ge=0, description="What each further row adds to a step, as a share of the step time.")
    weights_bytes: int = Field(default=0, ge=0, description="Memory of the weights.")
    row_bytes: int = Field(default=0, ge=0, description="Memory that each row of a batch needs beside them.")
    card_bytes: int | None = Field(default=None, gt=0, description="Memory of the card: a batch that needs more fails.")
    budget_bytes: int | None = Field(default=None, gt=0, description="Memory that the engine says it may use.")
    refused_prompt: str | None = Field(default=None, description="A batch with this prompt in it is refused as a whole.")
    broken_seed: int | None = Field(default=None, description="The row with this seed comes out broken.")
    parks: bool = Field(default=False, description="Whether the weights can leave the device.")


class StubEngine:
    """Makes pictures that depend on nothing but prompt, seed and size."""

    def __init__(self, script: StubScript) -> None:
        self._script = script
        self._never = threading.Event()

    def step_seconds(self, rows: Sequence[Row]) -> float:
        """How long one step of these rows takes."""
        return self._script.step_seconds * self._script.slow_factor * (1 + self._script.row_share * (len(rows) - 1))

    @property
    def lossy(self) -> tuple[str, ...]:
        """Nothing is lost."""
        return ()

    def load(self, stage: StageHook) -> Footprint:
        """Wait for the scripted time; fail as scripted."""
        if self._script.fault is Fault.CRASH_AT_LOAD:
            _crash()
        _pause(self._script.load_seconds)
        if self._script.weights_missing:
            raise FatalEngineError(ExitReason.WEIGHTS_MISSING, "the script says that the weights are missing")
        if self._script.load_error:
            raise FatalEngineError(ExitReason.LOAD_FAILED, self._script.load_error)
        stage("weights", self._script.load_seconds)
        return Footprint(self._script.weights_bytes, self._script.budget_bytes)

    def key(self, row: Row) -> Hashable:
        """Rows of one size and as many steps run together."""
        return row.size, _steps(row)

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        """Walk through the steps at the scripted pace, leaving out the rows whose callers go."""
        peak = self._need_memory(rows)
        if any(isinstance(row.job, PromptedJob) and row.job.prompt == self._script.refused_prompt for row in rows):
            message = "the script says that the model does not take this prompt"
            raise RefusedError(message)
        gone: frozenset[int] = frozenset()
        for number in range(1, _steps(rows[0]) + 1):
            if number == self._script.fault_at_step:
                self._go_wrong()
            time.sleep(self.step_seconds([row for index, row in enumerate(rows) if index not in gone]))
            gone = steps.stepped()
        return Outcome([self._made(row, gone=index in gone) for index, row in enumerate(rows)], peak)

    def park(self) -> bool:
        """Nothing is moved; the script says whether it counts."""
        return self._script.parks

    def unpark(self) -> None:
        """Nothing was moved."""

    def graphs(self) -> Mapping[str, GraphFigures]:
        """Nothing is recorded."""
        return {}

    def _need_memory(self, rows: Sequence[Row]) -> int:
        """Bytes that the rows need, weights included. Raises OutOfMemoryError."""
        needed = self._script.weights_bytes + self._script.row_bytes * len(rows)
        if self._script.card_bytes is not None and needed > self._script.card_bytes:
            message = "the card is full"
            raise OutOfMemoryError(message)
        return needed

    def _made(self, row: Row, *, gone: bool) -> Made | EngineError:
        if gone:
            return CancelledError("the caller is gone")
        if row.seed == self._script.broken_seed:
            return BrokenResultError("the script says that this result is broken")
        return _made(row)

    def _go_wrong(self) -> None:
        match self._script.fault:
            case Fault.CRASH_AT_STEP:
                _crash()
            case Fault.OUT_OF_MEMORY:
                message = "the card is full"
                raise OutOfMemoryError(message)
            case Fault.HANG:
                self._never.wait()
            case _:
                return

    def hardware(self) -> dict[str, GpuInfo]:
        """No cards."""
        return {}

    def utilization(self) -> dict[str, Any]:
        """No cards."""
        return {}


def _crash() -> None:
    """End without a word. A signal to oneself would not do: a container's first process is immune to those from inside."""
    os._exit(KILLED)


def _steps(row: Row) -> int:
    return max(1, row.job.num_inference_steps)


def _made(row: Row) -> Made:
    width, height = row.size
    frames = FRAMES if isinstance(row.job, ImageToVideo) else 1
    return [_picture(row.job, row.seed + frame, width, height) for frame in range(frames)]


def _picture(job: Job, seed: int, width: int, height: int) -> Pixels:
    """Soft stripes whose colours come from a digest, so that any difference of input shows."""
    prompt = job.prompt if isinstance(job, PromptedJob) else ""
    digest = hashlib.sha256(f"{prompt}\n{seed}".encode()).digest()
    across = np.linspace(0, 255, width, dtype=np.float32)[None, :, None]
    down = np.linspace(0, 255, height, dtype=np.float32)[:, None, None]
    tint = np.frombuffer(digest[:6], dtype=np.uint8).astype(np.float32).reshape(2, 3) / 255
    picture: Pixels = (across * tint[0] * 0.5 + down * tint[1] * 0.5).astype(np.uint8)
    return picture


def _pause(seconds: float) -> None:
    """In slices: a signal that comes at the moment at which a sleep begins is heard only when it ends."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE_SECONDS))
