"""The status of a ModelDeployment: the conditions, the counts, and the workers for people."""

from collections.abc import Mapping
from typing import Any

from stoker_contracts import names
from stoker_contracts.resources.conditions import ConditionType, Verdict, condition
from stoker_operator.domain.conditions.accepted import accepted
from stoker_operator.domain.conditions.ready import ready
from stoker_operator.domain.conditions.warm import warm
from stoker_operator.domain.conditions.weights import weights
from stoker_operator.domain.intent import fulfilled
from stoker_operator.domain.manifests.deployment import selector
from stoker_operator.domain.observed import Observed
from stoker_operator.domain.workers import SEVERITY, Worker

MAX_WORKERS = 10
OWNERS = {
    ConditionType.ACCEPTED: accepted,
    ConditionType.WEIGHTS_READY: weights,
    ConditionType.READY: ready,
    ConditionType.WARM: warm,
}
"""The one function that decides each condition."""

Verdicts = Mapping[ConditionType, Verdict]


def verdicts(observed: Observed, now: float) -> dict[ConditionType, Verdict]:
    """All conditions that are the operator's."""
    return {kind: judge(observed, now) for kind, judge in OWNERS.items()}


def status(observed: Observed, judged: Verdicts, now: float) -> dict[str, Any]:
    """The status as it is to be applied."""
    made = [
        condition(kind, verdict, generation=observed.generation, now=now, previous=observed.conditions)
        for kind, verdict in judged.items()
    ]
    target = observed.wanted.replicas if observed.wanted else 0
    existing, ready = len(observed.standing), len(observed.ready)
    if observed.external:
        target = existing = observed.places
        ready = len(observed.taking)
    ranked = sorted(observed.workers, key=lambda each: (SEVERITY.index(each.reason), each.name))
    return {
        "observedGeneration": observed.generation,
        "replicas": existing,
        "readyReplicas": ready,
        "selector": selector(observed.name),
        "warm": f"{ready}/{target}",
        "conditions": made,
        "workers": [_shown(each, observed) for each in ranked[:MAX_WORKERS]],
    }


def _shown(worker: Worker, observed: Observed) -> dict[str, str]:
    shown = {"name": worker.name, "node": worker.node, "state": worker.state, "since": worker.since, "device": _device(observed)}
    return {key: value for key, value in shown.items() if value}


def _device(observed: Observed) -> str:
    if observed.wanted is None:
        return ""
    count = observed.wanted.gpu.count
    return f"{count} × {observed.wanted.release.gpu_resource}" if count else "cpu"


def stands(observed: Observed, intended: Mapping[str, Any]) -> bool:
    """Whether the resource's status already says this; conditions of others do not count."""
    actual = observed.resource.get("status") or {}
    return actual.get("workers", []) == intended["workers"] and fulfilled(intended, actual)


def manifest(observed: Observed, intended: Mapping[str, Any]) -> dict[str, Any]:
    """The status as an object to apply to the status subresource of this very resource."""
    metadata = {"name": observed.name, "uid": observed.uid}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "status": dict(intended)}
