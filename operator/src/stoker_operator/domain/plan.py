"""What to do about one ModelDeployment."""

from dataclasses import dataclass
from typing import Any

from stoker_contracts.resources.conditions import ConditionType, Reason
from stoker_operator.domain.events import transitions
from stoker_operator.domain.intent import fulfilled
from stoker_operator.domain.manifests.deployment import deployment
from stoker_operator.domain.observed import Observed, Ownership
from stoker_operator.domain.patience import patience_ends, patiently
from stoker_operator.domain.status import Verdicts, manifest, stands, status, verdicts

Json = dict[str, Any]

SOON_SECONDS = 2.0
UNWATCHED_SECONDS = 30.0
"""How often to look at what no watch tells of: claims, Deployments of others."""
RETRY_SECONDS = 60.0
"""How often to try again what the API server refused, and to tell anew how long a start takes."""


@dataclass(frozen=True, slots=True)
class Application:
    """An object to apply. `over` is the uid of the one that it changes; None makes a new one."""

    manifest: Json
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object to delete, provided that it still is the one that was judged."""

    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Objects to apply, objects to delete, the status to apply (None: it stands already), Events, and when to look again."""

    apply: tuple[Application, ...] = ()
    delete: tuple[Deletion, ...] = ()
    status: Json | None = None
    events: tuple[Json, ...] = ()
    requeue_after: float | None = None


def plan(observed: Observed, now: float) -> Plan:
    """Decide. Nothing is done to a resource that is being deleted: owner references clear up."""
    if observed.resource["metadata"].get("deletionTimestamp"):
        return Plan()
    judged = verdicts(observed, now)
    intended = status(observed, judged, now)
    written = not stands(observed, intended)
    return Plan(
        apply=_children(observed, judged),
        delete=_superseded(observed, judged),
        status=manifest(observed, intended) if written else None,
        events=tuple(transitions(observed.resource, judged, intended["conditions"], now)) if written else (),
        requeue_after=_next_look(observed, now),
    )


def _children(observed: Observed, judged: Verdicts) -> tuple[Application, ...]:
    """What is not accepted is left as it runs: a bad edit must not take down a model that serves."""
    settled = observed.ownership in (Ownership.ABSENT, Ownership.OURS)
    if observed.wanted is None or observed.external or not judged[ConditionType.ACCEPTED].holds or not settled:
        return ()
    intended = deployment(observed.resource, observed.wanted)
    if fulfilled(intended, observed.deployment):
        return ()
    return (Application(intended, over=observed.deployment["metadata"]["uid"] if observed.deployment else None),)


def _superseded(observed: Observed, judged: Verdicts) -> tuple[Deletion, ...]:
    """The Deployment of a resource whose workers somebody else runs from now on; its pods finish their jobs."""
    child = observed.deployment
    if child is None or not observed.external or not judged[ConditionType.ACCEPTED].holds:
        return ()
    if observed.ownership is not Ownership.OURS:
        return ()
    metadata = child["metadata"]
    return (Deletion(observed.name, metadata["uid"], metadata["resourceVersion"]),)


def _next_look(observed: Observed, now: float) -> float | None:
    if observed.refusal is not None:
        return RETRY_SECONDS
    if observed.external:
        return None
    if observed.ownership is Ownership.FORMER:
        return SOON_SECONDS
    looks = patience_ends(observed.workers, now)
    if observed.ownership is Ownership.FOREIGN or observed.awaits_claim:
        looks.append(UNWATCHED_SECONDS)
    if any(each.reason is Reason.STARTING for each in patiently(observed.workers, now)):
        looks.append(RETRY_SECONDS)
    return min(looks, default=None)
