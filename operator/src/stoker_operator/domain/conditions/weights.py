"""WeightsReady: the model's files are where a worker looks for them."""

from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_contracts.resources.model_deployment import ClaimWeights
from stoker_operator.domain.conditions.accepted import accepted
from stoker_operator.domain.observed import Observed


def weights(observed: Observed, now: float) -> Verdict:
    """Where the weights stand. Only a worker that has loaded them is proof; until then it is not known."""
    if observed.wanted is None or not accepted(observed, now).holds:
        return Verdict("Unknown", Reason.NOT_ACCEPTED, "the resource is not accepted, so its weights were not looked for")
    source = observed.wanted.weights
    if observed.external or source is None:
        whose = "the containers are somebody else's" if observed.external else "the worker's image has what it needs"
        return Verdict("True", Reason.WEIGHTS_NOT_NEEDED, f"nothing is mounted: {whose}")
    if observed.ready:
        return Verdict("True", Reason.WEIGHTS_LOADED, "a worker has loaded the weights")
    missed = next((each for each in observed.workers if each.reason is Reason.WEIGHTS_MISSING), None)
    if missed is not None:
        return Verdict("False", Reason.WEIGHTS_MISSING, missed.message)
    if source.claim is not None:
        return _claimed(source.claim, observed)
    return Verdict("Unknown", Reason.WEIGHTS_UNCHECKED, "the files are looked at when a worker loads them")


def _claimed(source: ClaimWeights, observed: Observed) -> Verdict:
    if observed.claim is None:
        message = f"there is no PersistentVolumeClaim {source.name} in this namespace; make it, or correct weights.claim.name"
        return Verdict("False", Reason.WEIGHTS_MISSING, message)
    phase = (observed.claim.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        message = f"the volume of the PersistentVolumeClaim {source.name} is lost"
        return Verdict("False", Reason.WEIGHTS_MISSING, message)
    if phase != "Bound":
        return Verdict("Unknown", Reason.WEIGHTS_UNCHECKED, f"the PersistentVolumeClaim {source.name} is not bound yet")
    return Verdict("Unknown", Reason.WEIGHTS_UNCHECKED, "the files are looked at when a worker loads them")
