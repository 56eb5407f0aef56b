"""What objects of the Kubernetes API say, in the orchestrator's words."""

from collections.abc import Iterable, Mapping
from typing import Any

from stoker_contracts import names
from stoker_contracts.capabilities import Price
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.quantities import seconds
from stoker_contracts.resources.conditions import ConditionType, Reason
from stoker_contracts.worker import Variable
from stoker_orchestrator.domain.events import EndpointSeen
from stoker_orchestrator.domain.model import EndpointState, Model, Obstacle, Scaling

Item = Mapping[str, Any]

_HOPELESS = frozenset(
    {
        Reason.NOT_ACCEPTED, Reason.IMAGE_NOT_PULLABLE, Reason.WEIGHTS_MISSING, Reason.LOAD_FAILED, Reason.OUT_OF_MEMORY,
        Reason.CRASH_LOOP, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED,
    }
)  # fmt: skip
"""Reasons of ``Ready=False`` that waiting does not cure."""


def conditions(item: Item) -> list[dict[str, Any]]:
    """The conditions in the status, as far as there is one."""
    return list((item.get("status") or {}).get("conditions") or [])


def model(item: Item) -> Model:
    """The model that a ModelDeployment stands for. Raises ValueError, KeyError for one from a future that we do not know."""
    spec = item["spec"]
    scaling, price = spec.get("scaling") or {}, spec.get("price")
    return Model(
        name=item["metadata"]["name"],
        pipeline=Pipeline(spec["pipeline"]),
        model_id=spec["modelId"],
        warm=bool(spec.get("warm")),
        capacity=spec.get("capacity", 1),
        replicas=spec.get("replicas", 0),
        scaling=_scaling(scaling, warm=bool(spec.get("warm"))),
        start_timeout=seconds(scaling.get("startTimeout", "10m")),
        obstacle=_obstacle(conditions(item)),
        price=price
        and Price(per_unit=price["perUnit"], unit=price.get("unitsPer", "pixel"), currency=price.get("currency", "USD")),
    )


def _scaling(spec: Item, *, warm: bool) -> Scaling | None:
    if spec.get("mode", "Activity") != "Activity":
        return None
    return Scaling(
        least=spec.get("minReplicas", int(warm)),
        most=spec.get("maxReplicas", 1),
        idle_after=seconds(spec.get("idleAfter", "10m")),
        target_queue_seconds=spec.get("targetQueueSeconds", 10),
        drain_timeout=seconds(spec.get("drainTimeout", "10m")),
    )


def _obstacle(found: Iterable[Item]) -> Obstacle | None:
    for each in found:
        if each["type"] == ConditionType.READY and each["status"] == "False" and each["reason"] in _HOPELESS:
            return Obstacle(each["reason"], each.get("message", ""))
    return None


def endpoint(pod: Item) -> EndpointSeen | None:
    """The worker in a pod; its id changes with each restart. None for a pod that is no worker, or has ended."""
    meta, status = pod["metadata"], pod.get("status") or {}
    served = (meta.get("labels") or {}).get(names.LABEL_MODEL_DEPLOYMENT)
    if not served or status.get("phase") in ("Failed", "Succeeded"):
        return None
    restarts = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or [])
    host = status.get("podIP")
    address = f"{_host(host)}:{names.WORKER_PORT}" if host else ""
    return EndpointSeen(f"{meta['name']}.{restarts}", served, address, _capacity(pod), _state(pod))


def of_another(pod: Item, resource: Item) -> bool:
    """Whether a pod was made for an earlier resource of the same name, and is there until the garbage collector finds it."""
    owner = (pod["metadata"].get("labels") or {}).get(names.LABEL_RESOURCE_UID)
    return owner is not None and owner != resource["metadata"]["uid"]


def _capacity(pod: Item) -> int:
    """What the worker itself was told, which during a rollout is not what the ModelDeployment says now."""
    for container in pod["spec"]["containers"]:
        if container["name"] == names.WORKER_CONTAINER:
            told = {each["name"]: each.get("value") for each in container.get("env") or []}
            return int(told.get(Variable.CAPACITY) or 1)
    return 1


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _state(pod: Item) -> EndpointState:
    if pod["metadata"].get("deletionTimestamp"):
        return EndpointState.DRAINING
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions(pod))
    return EndpointState.READY if ready else EndpointState.STARTING
