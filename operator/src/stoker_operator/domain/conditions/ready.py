"""Ready: a job sent now is served, at once or after a start."""

import re

from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_operator.domain.clock import in_words, seconds_since
from stoker_operator.domain.conditions import external
from stoker_operator.domain.conditions.accepted import accepted
from stoker_operator.domain.conditions.weights import weights
from stoker_operator.domain.farewell import bounded
from stoker_operator.domain.observed import Observed, Ownership
from stoker_operator.domain.patience import patiently
from stoker_operator.domain.wanted import Wanted
from stoker_operator.domain.workers import SEVERITY, Worker


def ready(observed: Observed, now: float) -> Verdict:
    """Whether a job is served. A `False` always says why, in words that a person can act on."""
    verdict = accepted(observed, now)
    if observed.wanted is None or not verdict.holds:
        return Verdict("False", Reason.NOT_ACCEPTED, verdict.message)
    if observed.external:
        return external.ready(observed)
    files = weights(observed, now)
    if files.status == "False":
        return Verdict("False", files.reason, files.message)
    if observed.wanted.replicas == 0 and not observed.ready and observed.refusal is None:
        return _at_zero(observed.wanted)
    if observed.ready:
        return _serving(observed, observed.wanted, now)
    return _hindered(observed) or _waiting(observed, now)


def _at_zero(asked: Wanted) -> Verdict:
    if asked.startable:
        return Verdict("True", Reason.STARTABLE, "no worker runs; the first job starts one")
    why = "scaling.maxReplicas is 0" if asked.spec.scaling.mode == "Activity" else "it is scaled to 0 by hand"
    return Verdict("False", Reason.STOPPED, f"no worker runs and none will start: {why}")


def _serving(observed: Observed, asked: Wanted, now: float) -> Verdict:
    count, target = len(observed.ready), max(asked.replicas, len(observed.ready))
    message = f"{count} of {target} {'worker takes' if target == 1 else 'workers take'} jobs"
    hindrance = _hindered(observed) or (_worst(observed, now) if target > count else None)
    return Verdict("True", Reason.SERVING, f"{message}; {hindrance.message}" if hindrance else message)


def _hindered(observed: Observed) -> Verdict | None:
    """What keeps pods from being made at all."""
    if observed.refusal is not None:
        reason = Reason.QUOTA_EXCEEDED if observed.refusal.of_quota else Reason.NOT_READY
        return Verdict("False", reason, f"the worker's Deployment is refused: {bounded(observed.refusal.message)}")
    if observed.ownership is Ownership.FORMER:
        return Verdict("False", Reason.STARTING, "the Deployment of an earlier resource of this name is still being removed")
    conditions = ((observed.deployment or {}).get("status") or {}).get("conditions") or []
    failure = next((each for each in conditions if each["type"] == "ReplicaFailure" and each["status"] == "True"), None)
    if failure is None:
        return None
    words = bounded(re.sub(r'^pods "[^"]*" is forbidden: ', "", failure.get("message") or ""))
    reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in words else Reason.NOT_READY
    return Verdict("False", reason, f"worker pods cannot be made: {words}")


def _waiting(observed: Observed, now: float) -> Verdict:
    return _worst(observed, now) or Verdict("False", Reason.STARTING, "a worker pod is being made")


def _worst(observed: Observed, now: float) -> Verdict | None:
    told = patiently(observed.workers, now)
    troubled = [each for each in told if each.reason not in (Reason.STOPPED, Reason.SERVING)]
    if not troubled:
        return None
    worst = min(troubled, key=lambda each: (SEVERITY.index(each.reason), each.since or "", each.name))
    return Verdict("False", worst.reason, _with_time(worst, now))


def _with_time(worker: Worker, now: float) -> str:
    if worker.reason is not Reason.STARTING:
        return worker.message
    return f"{worker.message}, for {in_words(seconds_since(worker.since, now))}"
