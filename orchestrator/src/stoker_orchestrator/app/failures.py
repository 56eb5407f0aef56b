"""What callers are told of errors on the way of their request."""

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.body import BodyTooLargeError, BrokenBodyError, BudgetSpentError, DiskFullError, StalledError
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.replies import bad_request
from stoker_orchestrator.domain.admission import Refusal

REFUSING = (RefusedError, BodyTooLargeError, BudgetSpentError, DiskFullError, StalledError, BrokenBodyError)
"""The errors that a caller is told of."""


def _later(words: str, code: str) -> Refusal:
    return Refusal(503, ErrorType.OVERLOADED, f"{words}; try again later", code, 5)


_OF_BODIES: dict[type[Exception], Refusal] = {
    BudgetSpentError: _later("the requests under way fill the memory set aside for them", "body_budget"),
    DiskFullError: _later("there is no room on the orchestrator's disk for the rest of the body", "disk_full"),
    StalledError: Refusal(408, ErrorType.INVALID_REQUEST, "no byte of the body came for too long", "stalled"),
    BrokenBodyError: bad_request("the body is not framed as HTTP wants it"),
}


def refusal_for(error: Exception) -> Refusal | None:
    """The refusal that `error` stands for; None where nobody is there to be told."""
    match error:
        case RefusedError():
            return error.refusal
        case BodyTooLargeError(limit=limit):
            return Refusal(413, ErrorType.BODY_TOO_LARGE, f"the body is larger than the {limit} bytes that are taken")
    return _OF_BODIES.get(type(error))
