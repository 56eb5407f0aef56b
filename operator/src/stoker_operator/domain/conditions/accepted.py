"""Accepted: the resource is understood, and can be done here."""

from stoker_contracts import names
from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_contracts.resources.model_deployment import Gpu
from stoker_operator.domain.observed import Observed, Ownership
from stoker_operator.domain.wanted import Wanted

MAX_LABEL = 63
_INVALID_CODES = frozenset({400, 422})


def accepted(observed: Observed, now: float) -> Verdict:  # noqa: ARG001 - every condition has this form
    """Whether workers may be made of this resource. The first objection counts."""
    if observed.wanted is None:
        return _no(Reason.INVALID_SPEC, observed.problem)
    if len(observed.name) > MAX_LABEL:
        return _no(Reason.INVALID_SPEC, f"the name has {len(observed.name)} characters; at most {MAX_LABEL} fit into a label")
    return (
        _objection(observed.wanted)
        or _taken(observed)
        or _refused(observed)
        or Verdict("True", Reason.ACCEPTED, "the resource is understood and can be done here")
    )


def _objection(asked: Wanted) -> Verdict | None:
    if asked.spec.external is not None:
        return None
    if not asked.release.allows(asked.image):
        allowed = ", ".join(asked.release.allowed_image_prefixes) or "no other than the release's own"
        return _no(Reason.IMAGE_NOT_ALLOWED, f"the image {asked.image} may not be used; allowed: {allowed}")
    if asked.weights and asked.weights.hub:
        message = "weights from the hub are not fetched by this version; use weights.claim or weights.image"
        return _no(Reason.WEIGHTS_UNSUPPORTED, message)
    return _gpu_objection(asked.gpu)


def _gpu_objection(gpu: Gpu) -> Verdict | None:
    if gpu.class_name != "default":
        return _no(Reason.GPU_CLASS_UNKNOWN, f"gpu.className {gpu.class_name} is not known; the only class is default")
    if gpu.sharing == "Shared":
        message = "this cluster's GPUs are handed out as whole cards; use gpu.sharing Exclusive"
        return _no(Reason.SHARING_UNSUPPORTED, message)
    globs = [product for product in (gpu.require.products if gpu.require else []) if "*" in product]
    if globs:
        message = f"gpu.require.products: {globs[0]} has a *, which node labels cannot match; name the product in full"
        return _no(Reason.INVALID_SPEC, message)
    return None


def _taken(observed: Observed) -> Verdict | None:
    if observed.ownership is not Ownership.FOREIGN or observed.external:
        return None
    message = f"a Deployment {observed.name} that is not Stoker's exists; rename this {names.KIND} or remove the Deployment"
    return _no(Reason.NAME_TAKEN, message)


def _refused(observed: Observed) -> Verdict | None:
    refusal = observed.refusal
    if refusal is None or refusal.of_quota or refusal.code not in _INVALID_CODES:
        return None
    return _no(Reason.INVALID_SPEC, f"the API server refuses the worker's Deployment: {refusal.message}")


def _no(reason: Reason, message: str) -> Verdict:
    return Verdict("False", reason, message)
