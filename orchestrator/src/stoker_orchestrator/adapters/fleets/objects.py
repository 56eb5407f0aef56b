"""What objects of the Kubernetes API say, in the orchestrator's words."""

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from stoker_contracts import names
from stoker_contracts.capabilities import Price
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.quantities import seconds
from stoker_contracts.resources.conditions import ConditionType, Reason
from stoker_contracts.resources.endpoints import MAX_MESSAGE, EndpointPhase
from stoker_contracts.resources.scaling import MAX_DECISIONS, ScalingDecision
from stoker_contracts.worker import Variable
from stoker_orchestrator.domain.events import EndpointSeen
from stoker_orchestrator.domain.health import Report
from stoker_orchestrator.domain.model import Bounds, EndpointState, Model, Obstacle, Url

Item = Mapping[str, Any]

_HOPELESS = frozenset(
    {
        Reason.NOT_ACCEPTED, Reason.IMAGE_NOT_PULLABLE, Reason.WEIGHTS_MISSING, Reason.LOAD_FAILED, Reason.OUT_OF_MEMORY,
        Reason.CRASH_LOOP, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED,
    }
)  # fmt: skip
"""Reasons of ``Ready=False`` that waiting does not cure."""
_NOT_TAKEN = frozenset({Reason.NOT_ACCEPTED})
"""The same for containers that somebody else runs: all others follow from what is reported here."""
_DEVICE_LACKS = re.compile(r"Insufficient [^\s,]+/")
"""The scheduler's words for a device of which nodes have some, but not enough free; its name has a domain."""


def conditions(item: Item) -> list[dict[str, Any]]:
    """The conditions in the status, as far as there is one."""
    return list((item.get("status") or {}).get("conditions") or [])


def model(item: Item) -> Model:
    """The model that a ModelDeployment stands for. Raises ValueError, KeyError for one from a future that we do not know."""
    spec = item["spec"]
    scaling, price, external = spec.get("scaling") or {}, spec.get("price"), spec.get("external") or {}
    return Model(
        name=item["metadata"]["name"],
        pipeline=Pipeline(spec["pipeline"]),
        model_id=spec["modelId"],
        warm=bool(spec.get("warm")),
        capacity=spec.get("capacity", 1),
        replicas=spec.get("replicas", 0),
        scaling=_scaling(scaling, warm=bool(spec.get("warm"))) if not external else None,
        start_timeout=seconds(scaling.get("startTimeout", "10m")),
        obstacle=_obstacle(conditions(item), _NOT_TAKEN if external else _HOPELESS),
        price=price
        and Price(per_unit=price["perUnit"], unit=price.get("unitsPer", "pixel"), currency=price.get("currency", "USD")),
        decisions=tuple(last_decisions(item, ())),
        urls=tuple(_url(each) for each in external.get("endpoints", ())),
        health_seconds=seconds(external.get("healthInterval", "5s")),
        told_down=frozenset(each["index"] for each in reported(item) if external and each.get("state") == EndpointPhase.DOWN),
    )


def _url(endpoint: Item) -> Url:
    return Url(endpoint["url"], endpoint.get("capacity", 1), endpoint.get("tokenKey"))


def _scaling(spec: Item, *, warm: bool) -> Bounds | None:
    if spec.get("mode", "Activity") != "Activity":
        return None
    return Bounds(
        least=spec.get("minReplicas", int(warm)),
        most=spec.get("maxReplicas", 1),
        idle_after=seconds(spec.get("idleAfter", "10m")),
        target_queue_seconds=spec.get("targetQueueSeconds", 10),
        drain_timeout=seconds(spec.get("drainTimeout", "10m")),
    )


def _obstacle(found: Iterable[Item], hopeless: Collection[str]) -> Obstacle | None:
    for each in found:
        if each["type"] == ConditionType.READY and each["status"] == "False" and each["reason"] in hopeless:
            message = each.get("message", "")
            of_room = each["reason"] == Reason.UNSCHEDULABLE and _DEVICE_LACKS.search(message) is not None
            return Obstacle(each["reason"], message, of_room)
    return None


def last_decisions(item: Item, made: Sequence[ScalingDecision]) -> list[ScalingDecision]:
    """The last decisions of all orchestrators: those in the status of the resource and those `made` here, the newest last.

    Decisions of a later release that are not understood are left out.
    """
    told: list[ScalingDecision] = []
    for each in ((item.get("status") or {}).get("scaling") or {}).get("decisions") or []:
        with contextlib.suppress(ValidationError):
            told.append(ScalingDecision.model_validate(each))
    found = {each.time: each for each in [*told, *made]}
    return [found[time] for time in sorted(found)][-MAX_DECISIONS:]


def deletion_cost(pod: Item) -> int:
    """What its ending costs, as the pod says."""
    told = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_DELETION_COST, "0")
    return int(told) if told.removeprefix("-").isdigit() else 0


def reported(item: Item) -> list[dict[str, Any]]:
    """How the external containers of a resource are, as its status tells it."""
    return list((item.get("status") or {}).get("endpoints") or [])


def endpoint_statuses(item: Item, reports: Sequence[Report], now: float) -> list[dict[str, Any]]:
    """The same as it should be. Of one that is as it was told, it stays told since when."""
    generation, before = item["metadata"].get("generation", 0), {each["index"]: each for each in reported(item)}
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = []
    for index, report in enumerate(reports):
        known = before.get(index, {})
        since = known["since"] if known.get("state") == report.phase else moment
        said = {"index": index, "state": report.phase.value, "reason": report.reason.value, "since": since}
        message = {"message": report.message[:MAX_MESSAGE]} if report.message else {}
        made.append(said | message | {"observedGeneration": generation})
    return made


def endpoint(pod: Item) -> EndpointSeen | None:
    """The worker in a pod; its id changes with each restart. None for a pod that is no worker, or has ended.

    Raises ValueError, KeyError for one from a future that we do not know, or that somebody else has changed.
    """
    meta, status, model_name = pod["metadata"], pod.get("status") or {}, served(pod)
    if not model_name or status.get("phase") in ("Failed", "Succeeded"):
        return None
    restarts = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or [])
    host = status.get("podIP")
    address = f"{_host(host)}:{names.WORKER_PORT}" if host else ""
    return EndpointSeen(
        f"{meta['name']}.{restarts}",
        model_name,
        address,
        _capacity(pod),
        _state(pod),
        node=pod["spec"].get("nodeName") or "",
        devices=_devices(pod),
        no_room=_no_room(pod),
    )


def served(pod: Item) -> str | None:
    """The name of the resource whose worker a pod is."""
    return (pod["metadata"].get("labels") or {}).get(names.LABEL_MODEL_DEPLOYMENT)


def of_another(pod: Item, resource: Item) -> bool:
    """Whether a pod was made for an earlier resource of the same name, and is there until the garbage collector finds it."""
    owner = (pod["metadata"].get("labels") or {}).get(names.LABEL_RESOURCE_UID)
    return owner is not None and owner != resource["metadata"]["uid"]


def _container(pod: Item) -> Item:
    return next((each for each in pod["spec"]["containers"] if each["name"] == names.WORKER_CONTAINER), {})


def _capacity(pod: Item) -> int:
    """What the worker itself was told, which during a rollout is not what the ModelDeployment says now."""
    told = {each["name"]: each.get("value") for each in _container(pod).get("env") or []}
    return int(told.get(Variable.CAPACITY) or 1)


def _devices(pod: Item) -> dict[str, int]:
    """What a device plugin hands out: resources in whole numbers, whose names have a domain of somebody else."""
    limits = (_container(pod).get("resources") or {}).get("limits") or {}
    named = {name: str(count) for name, count in limits.items() if "/" in name and "kubernetes.io/" not in name}
    return {name: int(count) for name, count in named.items() if count.isdigit() and int(count)}


def _no_room(pod: Item) -> str:
    """The scheduler's words, where it says that a device is lacking."""
    scheduled = next((each for each in conditions(pod) if each["type"] == "PodScheduled"), {})
    message = str(scheduled.get("message") or "")
    hindered = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return message if hindered and _DEVICE_LACKS.search(message) else ""


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _state(pod: Item) -> EndpointState:
    if pod["metadata"].get("deletionTimestamp"):
        return EndpointState.DRAINING
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions(pod))
    return EndpointState.READY if ready else EndpointState.STARTING
