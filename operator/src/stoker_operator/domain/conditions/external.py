"""Ready and Warm of a model whose containers somebody else runs, from what the orchestrator tells of each in the status."""

from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_contracts.resources.endpoints import EndpointPhase, EndpointStatus
from stoker_operator.domain.observed import Observed

_NOT_TOLD = "the orchestrator has not told yet how the endpoints are"


def ready(observed: Observed) -> Verdict:
    """Whether any container takes jobs; what ails the others is told as well."""
    taking, total = len(observed.taking), observed.places
    if taking:
        troubles = _words(observed)
        message = f"{taking} of {total} {'endpoint takes' if total == 1 else 'endpoints take'} jobs"
        return Verdict("True", Reason.SERVING, f"{message}; {troubles}" if troubles else message)
    if len(observed.endpoints) < total:
        return Verdict("False", Reason.STARTING, _NOT_TOLD)
    if any(each.state is EndpointPhase.LOADING for each in observed.endpoints):
        return Verdict("False", Reason.STARTING, _words(observed))
    return Verdict("False", _reason(observed.endpoints[0]), _words(observed))


def warm(observed: Observed) -> Verdict:
    """Whether any container has the model loaded; one that takes jobs has."""
    if observed.taking:
        return Verdict("True", Reason.LOADED, f"loaded by {len(observed.taking)} of {observed.places} endpoints")
    verdict = ready(observed)
    reason = Reason.LOADING if verdict.reason is Reason.STARTING else verdict.reason
    return Verdict("False", reason, "no endpoint takes jobs")


def _words(observed: Observed) -> str:
    return "; ".join(each.message for each in observed.endpoints if each.message)


def _reason(endpoint: EndpointStatus) -> Reason:
    """The orchestrator's reason, where this version knows it."""
    return Reason(endpoint.reason) if endpoint.reason in {reason.value for reason in Reason} else Reason.NOT_READY
