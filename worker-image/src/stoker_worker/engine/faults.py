"""What an exception out of a model means to the worker."""

import logging
import traceback
from pathlib import Path
from typing import Any

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import EngineError, FatalEngineError, OutOfMemoryError, RefusedError
from stoker_worker.engine.start.pipeline import without_paths

log = logging.getLogger(__name__)

_STICKY = (
    "illegal memory access",
    "misaligned address",
    "device-side assert",
    "uncorrectable ECC",
    "unspecified launch failure",
    "STATUS_EXECUTION_FAILED",
)
"""CUDA errors after which nothing works in this process any more; the last one is how cuBLAS and cuDNN report them."""
_FULL = ("out of memory", "STATUS_ALLOC_FAILED")


def is_full(torch: Any, error: Exception) -> bool:
    """Whether it was memory that the device did not have."""
    return isinstance(error, torch.OutOfMemoryError) or any(mark in str(error) for mark in _FULL)


def translated(torch: Any, error: Exception, directory: Path) -> EngineError | FatalEngineError:
    """The error to raise in its place, in words without paths.

    The frames of `error` are cleared: through its traceback they would keep every tensor of the failed call alive.
    """
    if isinstance(error, (EngineError, FatalEngineError)):
        return error
    traceback.clear_frames(error.__traceback__)
    text = str(error)
    if is_full(torch, error):
        return OutOfMemoryError("the job needs more memory than the card has")
    if isinstance(error, torch.AcceleratorError) or any(mark in text for mark in _STICKY):
        log.error("the GPU reported an error that only a restart cures: %s", type(error).__name__)
        return FatalEngineError(ExitReason.ENGINE_FAILED, "the GPU reported an error that only a restart cures")
    if isinstance(error, (ValueError, TypeError)):
        return RefusedError(f"the model does not take this job: {without_paths(error, directory)}")
    log.error("a job failed inside the model: %s", type(error).__name__)
    return EngineError(f"the model failed on this job ({type(error).__name__}); another seed, size or prompt may do")
