"""Warm: at least one worker has the model loaded."""

from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_operator.domain.conditions import external
from stoker_operator.domain.conditions.accepted import accepted
from stoker_operator.domain.observed import Observed


def warm(observed: Observed, now: float) -> Verdict:
    """Whether a job sent now finds the model in memory."""
    if observed.external and accepted(observed, now).holds:
        return external.warm(observed)
    if observed.ready:
        return Verdict("True", Reason.LOADED, f"loaded by {len(observed.ready)} of {len(observed.standing)} workers")
    if observed.wanted is None or not accepted(observed, now).holds:
        return Verdict("False", Reason.NOT_ACCEPTED, "the resource is not accepted")
    if observed.wanted.replicas == 0:
        return Verdict("False", Reason.COLD, "no worker is asked for")
    return Verdict("False", Reason.LOADING, "no worker has loaded the model yet")
