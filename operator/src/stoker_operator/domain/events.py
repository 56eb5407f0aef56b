"""Events: what changed, told once to whoever looks with ``kubectl describe``."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from stoker_contracts import names
from stoker_contracts.resources.conditions import ConditionType, Reason, Verdict
from stoker_operator.domain.clock import timestamp

_TOLD = (ConditionType.ACCEPTED, ConditionType.WEIGHTS_READY, ConditionType.READY)
"""Warm is not told: Ready says the same with its reason."""
_EXPECTED = frozenset({Reason.STARTING, Reason.STARTABLE, Reason.STOPPED})
"""Reasons that are no trouble."""
_MAX_MESSAGE = 1024
_MAX_STEM = 200
"""Characters of the object's name in an Event's name, which may have 253."""


def transitions(
    resource: Mapping[str, Any], verdicts: Mapping[ConditionType, Verdict], conditions: Iterable[Mapping[str, Any]], now: float
) -> list[dict[str, Any]]:
    """One Event for each condition of the status to be written whose status or reason differs from what is written now.

    The name of an Event follows from what it tells, so that a second operator, or a second try, makes no second one.
    """
    before = {each["type"]: each for each in (resource.get("status") or {}).get("conditions") or []}
    since = {each["type"]: each["lastTransitionTime"] for each in conditions}
    told: dict[str, dict[str, Any]] = {}
    for kind in _TOLD:
        verdict, old = verdicts[kind], before.get(kind, {})
        if (old.get("status"), old.get("reason")) == (verdict.status, verdict.reason) or not _worth_telling(kind, verdict, old):
            continue
        severity: Literal["Normal", "Warning"] = "Normal" if verdict.holds or verdict.reason in _EXPECTED else "Warning"
        regarding = reference(resource, names.API_VERSION, names.KIND)
        made = event(regarding, severity, verdict.reason, verdict.message, identity=since[kind], now=now)
        told[made["metadata"]["name"]] = made
    return list(told.values())


def _worth_telling(kind: ConditionType, verdict: Verdict, old: Mapping[str, Any]) -> bool:
    """Of Ready everything but an expected beginning; of the others trouble and its end."""
    if kind is ConditionType.READY:
        return bool(old) or verdict.reason not in _EXPECTED
    return verdict.status == "False" or (verdict.holds and old.get("status") == "False")


def reference(item: Mapping[str, Any], api_version: str, kind: str) -> dict[str, str]:
    """What an Event is about."""
    metadata = item["metadata"]
    return {
        "apiVersion": api_version, "kind": kind, "name": metadata["name"],
        "namespace": metadata["namespace"], "uid": metadata["uid"],
    }  # fmt: skip


def event(
    regarding: Mapping[str, str],
    severity: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    *,
    identity: str,
    now: float,
) -> dict[str, Any]:
    """An Event. Two with the same object, reason and `identity` are the same one."""
    digest = hashlib.sha256(f"{regarding['uid']}\n{reason}\n{identity}".encode()).hexdigest()[:16]
    moment = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{regarding['name'][:_MAX_STEM]}.{digest}", "namespace": regarding["namespace"]},
        "involvedObject": dict(regarding),
        "type": severity,
        "reason": str(reason),
        "message": message[:_MAX_MESSAGE],
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": names.FIELD_MANAGER_OPERATOR},
        "reportingComponent": names.FIELD_MANAGER_OPERATOR,
        "reportingInstance": names.FIELD_MANAGER_OPERATOR,
    }
