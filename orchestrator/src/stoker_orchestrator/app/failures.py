"""What callers are told of errors on the way of their request."""

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.body import BodyTooLargeError, BrokenBodyError, BudgetSpentError, StalledError
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.replies import bad_request
from stoker_orchestrator.app.target import NoTargetError
from stoker_orchestrator.domain.admission import Refusal

REFUSING = (NoTargetError, RefusedError, BodyTooLargeError, BudgetSpentError, StalledError, BrokenBodyError)
"""The errors that a caller is told of."""


def refusal_for(error: Exception) -> Refusal | None:
    """The refusal that `error` stands for; None where nobody is there to be told."""
    match error:
        case NoTargetError() | RefusedError():
            return error.refusal
        case BodyTooLargeError(limit=limit):
            return Refusal(413, ErrorType.BODY_TOO_LARGE, f"the body is larger than the {limit} bytes that are taken")
        case BudgetSpentError():
            words = "the requests under way fill the memory set aside for them; try again later"
            return Refusal(503, ErrorType.OVERLOADED, words, "body_budget", 5)
        case StalledError():
            return Refusal(408, ErrorType.INVALID_REQUEST, "no byte of the body came for too long", "stalled")
        case BrokenBodyError():
            return bad_request("the body is not framed as HTTP wants it")
    return None
