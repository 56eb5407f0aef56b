"""The error body that satisfies both worlds: Livepeer's runner (``detail``) and OpenAI-like clients (``error``)."""

from enum import StrEnum
from typing import Any


class ErrorType(StrEnum):
    """The kind of a failure, for programs."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    MODEL_NOT_FOUND = "model_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    OVERLOADED = "overloaded"
    MODEL_UNAVAILABLE = "model_unavailable"
    START_TIMEOUT = "start_timeout"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    WORKER_LOST = "worker_lost"
    JOB_ENDS_WORKERS = "job_ends_workers"
    WORKER_FULL = "worker_full"
    WORKER_DRAINING = "worker_draining"
    OUT_OF_MEMORY = "out_of_memory"
    INFERENCE_FAILED = "inference_failed"
    INTERNAL = "internal"


def error_body(message: str, kind: ErrorType, code: str | None = None) -> dict[str, Any]:
    """The JSON body of a failure. ``message`` is for people and must hold no path, address or secret."""
    return {"detail": {"msg": message}, "error": {"message": message, "type": kind.value, "code": code or kind.value}}


def validation_body(problems: list[dict[str, Any]], message: str) -> dict[str, Any]:
    """The JSON body of a 422: ``detail`` is a list of ``{loc, msg, type}``, as FastAPI and Livepeer's clients know it."""
    kind = ErrorType.INVALID_REQUEST.value
    return {"detail": problems, "error": {"message": message, "type": kind, "code": "validation"}}
