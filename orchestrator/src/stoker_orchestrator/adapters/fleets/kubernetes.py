"""Workers as pods: ModelDeployments and their pods, followed by watches.

The API server may be away for a while: jobs go on from what was told before, and everything is listed again when it is back.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from stoker_contracts import names
from stoker_contracts.capabilities import Price
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.quantities import seconds
from stoker_contracts.resources.conditions import ConditionType, Reason, Verdict, condition
from stoker_orchestrator.adapters.fleets.port import FleetError, Sink
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.model import EndpointState, Model, Obstacle

log = logging.getLogger(__name__)

ModelDeployment = create_namespaced_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)

LONGEST_PAUSE_SECONDS = 3.0
WATCH_SECONDS = 240
"""A watch ends after so long and everything is listed again, so that nothing missed stays missed."""
_HOPELESS = frozenset(
    {
        Reason.NOT_ACCEPTED, Reason.IMAGE_NOT_PULLABLE, Reason.WEIGHTS_MISSING, Reason.LOAD_FAILED, Reason.OUT_OF_MEMORY,
        Reason.CRASH_LOOP, Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED,
    }
)  # fmt: skip
"""Reasons of ``Ready=False`` that waiting does not cure."""

Item = Mapping[str, Any]
Labels = dict[str, Any] | None


class KubernetesFleet:
    """The ModelDeployments of one namespace."""

    def __init__(self, client: lightkube.AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._resources: dict[str, Item] = {}
        self._capacity: dict[str, int] = {}
        self._pods: dict[str, Item] = {}
        self._endpoints: dict[str, EndpointSeen] = {}
        self._listed: set[str] = set()

    @classmethod
    def connect(cls, namespace: str, kubeconfig: Path | None) -> "KubernetesFleet":
        """A fleet over the API server that `kubeconfig` names, or the pod's own."""
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account()
        client = lightkube.AsyncClient(config=config, namespace=namespace, timeout=httpx2.Timeout(10, read=WATCH_SECONDS + 30))
        return cls(client, namespace)

    async def run(self, sink: Sink) -> None:
        """Follow both kinds until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(ModelDeployment, None, sink, self._resources, self._tell_model))
            group.create_task(self._follow(Pod, {names.LABEL_MANAGED_BY: names.MANAGED_BY}, sink, self._pods, self._tell_pod))

    async def wake(self, model: str) -> None:
        """Ask for one replica through the scale subresource."""
        patch = {"spec": {"replicas": 1}}
        await self._call(self._client.patch(ModelDeployment.Scale, model, patch, patch_type=PatchType.MERGE))

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """Apply the condition `Advertised`, and nothing else, to the resource's status."""
        resource = self._resources.get(model)
        if resource is None:
            return
        previous = (resource.get("status") or {}).get("conditions", [])
        generation = resource["metadata"].get("generation", 0)
        made = condition(ConditionType.ADVERTISED, verdict, generation=generation, now=time.time(), previous=previous)
        intent = ModelDeployment.Status(
            apiVersion=names.API_VERSION, kind=names.KIND, metadata=ObjectMeta(name=model), status={"conditions": [made]}
        )
        await self._call(self._client.apply(intent, name=model, field_manager=names.FIELD_MANAGER_ORCHESTRATOR, force=True))

    async def _call(self, call: Any) -> None:
        try:
            await call
        except ApiError as error:
            if error.status.code == 404:  # noqa: PLR2004
                return
            message = f"the API server answered {error.status.code} {error.status.reason}"
            raise FleetError(message) from error
        except httpx2.HTTPError as error:
            message = f"the API server cannot be reached: {type(error).__name__}"
            raise FleetError(message) from error

    async def _follow(self, kind: Any, labels: Labels, sink: Sink, known: dict[str, Item], tell: "_Tell") -> None:
        """List, then watch, then list again, for ever; trouble costs a pause of at most three seconds."""
        pause = 0.1
        while True:
            try:
                version = await self._list(kind, labels, sink, known, tell)
                self._synced(kind, sink)
                pause = 0.1
                await self._watch(kind, labels, version, sink, known, tell)
            except (httpx2.HTTPError, ValueError, KeyError) as error:
                log.warning("the watch of %s broke (%s); listing again", kind.__name__, type(error).__name__)
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - spreads reconnects, keeps no secret
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _list(self, kind: Any, labels: Labels, sink: Sink, known: dict[str, Item], tell: "_Tell") -> str:
        listing = self._client.list(kind, labels=labels, chunk_size=500)
        found = {item["metadata"]["name"]: item async for item in _plain(listing)}
        for name in known.keys() - found.keys():
            del known[name]
            tell(name, None, sink)
        for name, item in found.items():
            known[name] = item
            tell(name, item, sink)
        return str(listing.resourceVersion)

    async def _watch(self, kind: Any, labels: Labels, version: str, sink: Sink, known: dict[str, Item], tell: "_Tell") -> None:
        watch = self._client.watch(kind, labels=labels, resource_version=version, server_timeout=WATCH_SECONDS)
        deadline = asyncio.get_running_loop().time() + WATCH_SECONDS
        async for change, item in watch:
            if change not in ("ADDED", "MODIFIED", "DELETED"):
                message = f"the watch told of {change}"
                raise ValueError(message)
            plain = item.to_dict()
            name = plain["metadata"]["name"]
            if change == "DELETED":
                known.pop(name, None)
                tell(name, None, sink)
            else:
                known[name] = plain
                tell(name, plain, sink)
            if asyncio.get_running_loop().time() > deadline:
                return

    def _synced(self, kind: Any, sink: Sink) -> None:
        first = len(self._listed) < 2  # noqa: PLR2004 - the two kinds
        self._listed.add(kind.__name__)
        if first and len(self._listed) == 2:  # noqa: PLR2004
            sink(Synced())

    def _tell_model(self, name: str, item: Item | None, sink: Sink) -> None:
        if item is None:
            self._capacity.pop(name, None)
            sink(ModelGone(name))
            return
        sink(ModelSeen(_model(name, item)))
        self._capacity[name] = int(item["spec"].get("capacity", 1))
        for pod_name, pod in self._pods.items():
            if _model_of(pod) == name:
                self._tell_pod(pod_name, pod, sink)

    def _tell_pod(self, name: str, pod: Item | None, sink: Sink) -> None:
        seen = self._endpoint(name, pod) if pod is not None else None
        before = self._endpoints.get(name)
        if before is not None and (seen is None or seen.id != before.id):
            del self._endpoints[name]
            sink(EndpointGone(before.id))
        if seen is not None and seen != before:
            self._endpoints[name] = seen
            sink(seen)

    def _endpoint(self, name: str, pod: Item) -> EndpointSeen | None:
        """The pod as an endpoint; its id changes with each restart of the worker."""
        model, status = _model_of(pod), pod.get("status") or {}
        if model is None or status.get("phase") in ("Failed", "Succeeded"):
            return None
        restarts = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or [])
        address = f"{_host(status.get('podIP') or '')}:{names.WORKER_PORT}"
        return EndpointSeen(f"{name}.{restarts}", model, address, self._capacity.get(model, 1), _state(pod))


_Tell = Callable[[str, Item | None, Sink], None]


async def _plain(listing: Any) -> Any:
    async for item in listing:
        yield item.to_dict()


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _model_of(pod: Item) -> str | None:
    labels = pod["metadata"].get("labels") or {}
    name = labels.get(names.LABEL_MODEL_DEPLOYMENT)
    return str(name) if name else None


def _state(pod: Item) -> EndpointState:
    if pod["metadata"].get("deletionTimestamp"):
        return EndpointState.DRAINING
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return EndpointState.READY if ready else EndpointState.STARTING


def _model(name: str, item: Item) -> Model:
    spec, status = item["spec"], item.get("status") or {}
    scaling = spec.get("scaling") or {}
    price = spec.get("price")
    return Model(
        name=name,
        pipeline=Pipeline(spec["pipeline"]),
        model_id=spec["modelId"],
        warm=bool(spec.get("warm")),
        startable=scaling.get("mode", "Activity") == "Activity" and scaling.get("maxReplicas", 1) > 0,
        start_timeout=seconds(scaling.get("startTimeout", "10m")),
        obstacle=_obstacle(status.get("conditions") or []),
        price=price
        and Price(per_unit=price["perUnit"], unit=price.get("unitsPer", "pixel"), currency=price.get("currency", "USD")),
    )


def _obstacle(conditions: list[Item]) -> Obstacle | None:
    for each in conditions:
        if each["type"] == ConditionType.READY and each["status"] == "False" and each["reason"] in _HOPELESS:
            return Obstacle(each["reason"], each.get("message", ""))
    return None
