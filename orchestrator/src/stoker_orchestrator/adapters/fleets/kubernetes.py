"""Workers as pods: ModelDeployments and their pods, followed by watches.

The API server may be away for a while: jobs go on from what was told before, and everything is listed again when it is back.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import lightkube
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from stoker_contracts import names
from stoker_contracts.resources.conditions import ConditionType, Verdict, condition
from stoker_contracts.resources.scaling import ScalingDecision, ScalingStatus
from stoker_orchestrator.adapters.fleets import objects
from stoker_orchestrator.adapters.fleets.objects import Item
from stoker_orchestrator.adapters.fleets.port import FleetError, Sink
from stoker_orchestrator.adapters.fleets.sight import tell_sight
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.health import Report
from stoker_orchestrator.domain.model import Model

log = logging.getLogger(__name__)

ModelDeployment = create_namespaced_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)

CALL_SECONDS = 10.0
WATCH_SECONDS = 60.0
"""A watch ends after about so long and everything is listed again: a connection that died silently costs no more than this."""
PAUSE_SECONDS = (0.1, 3.0)
"""After a watch broke: at first, and at the longest."""
SETTLE_SECONDS = (1.0, 3.0)
"""How long a condition that is not what we want is left alone: another replica may be about to write the same."""
_SCALE_ATTEMPTS = 20
_SCALE_AGAIN_SECONDS = 0.05


T = TypeVar("T")


class _ConflictError(FleetError):
    """What was to be changed is not what we knew any more."""


class KubernetesFleet:
    """The ModelDeployments of one namespace."""

    def __init__(self, client: lightkube.AsyncClient) -> None:
        self._client = client
        self._resources: dict[str, Item] = {}
        self._models: dict[str, Model] = {}
        self._pods: dict[str, Item] = {}
        self._endpoints: dict[str, EndpointSeen] = {}
        self._wanted: dict[str, Verdict] = {}
        self._differs = asyncio.Event()

    @classmethod
    def connect(cls, namespace: str, kubeconfig: Path | None) -> "KubernetesFleet":
        """A fleet over the API server that `kubeconfig` names, or the pod's own."""
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account()
        return cls(lightkube.AsyncClient(config=config, namespace=namespace, timeout=httpx2.Timeout(CALL_SECONDS)))

    async def run(self, sink: Sink) -> None:
        """Follow both kinds until cancelled, then close the connections."""
        workers: dict[str, Any] = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
        models = _Follower(self._client, ModelDeployment, None, lambda name, item: self._see_model(name, item, sink))
        pods = _Follower(self._client, Pod, workers, lambda name, item: self._see_pod(name, item, sink))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(models.run())
                group.create_task(pods.run())
                await models.listed.wait()
                await pods.listed.wait()
                sink(Synced())
                group.create_task(self._keep_shown())
                group.create_task(tell_sight((models, pods), sink))
        finally:
            await self._client.close()

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        """Ask through the scale subresource, where nobody has asked for another number than `expected` meanwhile."""
        for _ in range(_SCALE_ATTEMPTS):
            resource = self._resources.get(model)
            if resource is None or resource["spec"].get("replicas", 0) != expected:
                return
            version = resource["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
            try:
                await self._call(self._client.patch(ModelDeployment.Scale, model, patch, patch_type=PatchType.MERGE))
            except _ConflictError:
                await asyncio.sleep(_SCALE_AGAIN_SECONDS)  # the watch is about to tell the newer version
            else:
                return
        message = "the ModelDeployment changes faster than it can be followed"
        raise FleetError(message)

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """Apply the condition `Advertised`, and nothing else, to the resource's status; write nothing where it is so already."""
        self._wanted[model] = verdict
        await self._show(model)

    async def rank(self, endpoint: str, cost: int) -> None:
        """Write the cost to the worker's pod, where the ReplicaSet controller looks for it, unless it stands there."""
        pod = endpoint.rpartition(".")[0]
        if pod in self._pods and objects.deletion_cost(self._pods[pod]) != cost:
            patch = {"metadata": {"annotations": {names.ANNOTATION_DELETION_COST: str(cost)}}}
            await self._call(self._client.patch(Pod, pod, patch, patch_type=PatchType.MERGE))

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        """Apply the decisions, and nothing else, to the resource's status, after those of earlier orchestrators."""
        resource = self._resources.get(model)
        if resource is None:
            return
        status = {"scaling": ScalingStatus(decisions=objects.last_decisions(resource, decisions)).wire()}
        await self._apply_status(model, status, names.FIELD_MANAGER_SCALING)

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        """Apply how the external containers are, and nothing else, to the resource's status; nothing where it is told already."""
        resource = self._resources.get(model)
        if resource is None:
            return
        made = objects.endpoint_statuses(resource, endpoints, time.time())
        if made != objects.reported(resource):
            await self._apply_status(model, {"endpoints": made} if made else {}, names.FIELD_MANAGER_ENDPOINTS)

    async def _show(self, name: str) -> None:
        made = self._unshown(name)
        if made is not None:
            await self._apply_status(name, {"conditions": [made]}, names.FIELD_MANAGER_ORCHESTRATOR)

    async def _apply_status(self, name: str, status: Item, manager: str) -> None:
        intent = ModelDeployment.Status(
            apiVersion=names.API_VERSION, kind=names.KIND, metadata=ObjectMeta(name=name), status=status
        )  # fmt: skip
        await self._call(self._client.apply(intent, field_manager=manager, force=True))

    def _unshown(self, name: str) -> Item | None:
        """The condition that a resource should show and does not."""
        resource, wanted = self._resources.get(name), self._wanted.get(name)
        if resource is None or wanted is None:
            return None
        shown, generation = objects.conditions(resource), resource["metadata"].get("generation", 0)
        made = condition(ConditionType.ADVERTISED, wanted, generation=generation, now=time.time(), previous=shown)
        return made if made not in shown else None

    async def _keep_shown(self) -> None:
        """Write anew what was lost: overwritten by a replica that knew less, or left behind by a new generation."""
        while True:
            await self._differs.wait()
            await asyncio.sleep(random.uniform(*SETTLE_SECONDS))  # noqa: S311 - spreads writers, keeps no secret
            self._differs.clear()
            for name in list(self._wanted):
                try:
                    await self._show(name)
                except FleetError as error:
                    log.warning("how %s is advertised could not be shown, will be tried again: %s", name, error)
                    self._differs.set()

    async def _call(self, call: Awaitable[object]) -> None:
        try:
            await call
        except ApiError as error:
            code = error.status.code
            if code == httpx2.codes.NOT_FOUND:
                return
            message = f"the API server answered {code} {error.status.reason}"
            raise (_ConflictError if code == httpx2.codes.CONFLICT else FleetError)(message) from error
        except httpx2.HTTPError as error:
            message = f"the API server cannot be reached: {type(error).__name__}"
            raise FleetError(message) from error

    def _see_model(self, name: str, item: Item | None, sink: Sink) -> None:
        model = _understood(name, item, objects.model) if item is not None else None
        if item is None or model is None:
            self._resources.pop(name, None)
            self._wanted.pop(name, None)
            if self._models.pop(name, None) is not None:
                sink(ModelGone(name))
            return
        self._resources[name] = item
        if self._unshown(name) is not None:
            self._differs.set()
        if self._models.get(name) != model:
            self._models[name] = model
            sink(ModelSeen(model))
        for pod, told in list(self._pods.items()):
            if objects.served(told) == name:  # it may be of this resource or of an earlier one, which shows only now
                self._see_pod(pod, told, sink)

    def _see_pod(self, name: str, pod: Item | None, sink: Sink) -> None:
        seen = self._endpoint(name, pod) if pod is not None else None
        if pod is not None:
            self._pods[name] = pod
        else:
            self._pods.pop(name, None)
        before = self._endpoints.get(name)
        if before is not None and (seen is None or seen.id != before.id):
            del self._endpoints[name]
            sink(EndpointGone(before.id))
        if seen is not None and seen != before:
            self._endpoints[name] = seen
            sink(seen)

    def _endpoint(self, name: str, pod: Item) -> EndpointSeen | None:
        """The worker in a pod, unless it serves a resource that is no more. A pod may be told before its resource."""
        seen = _understood(name, pod, objects.endpoint)
        resource = self._resources.get(seen.model) if seen is not None else None
        return None if resource is not None and objects.of_another(pod, resource) else seen


def _understood(name: str, item: Item, read: Callable[[Item], T]) -> T | None:
    """What an object says, or nothing: one that is not understood must not hide the others."""
    try:
        return read(item)
    except (ValueError, KeyError) as error:
        log.warning("%s is not served, this version does not understand it: %s", name, error)
        return None


class _Follower:
    """One kind of object, followed for ever. `tell` takes each one's name and what it is now, None where it is gone."""

    def __init__(
        self, client: lightkube.AsyncClient, kind: Any, labels: dict[str, Any] | None, tell: Callable[[str, Item | None], None]
    ) -> None:
        self._client = client
        self._kind = kind
        self._labels = labels
        self._tell = tell
        self._known: set[str] = set()
        self.listed = asyncio.Event()
        """Set once everything that was there at the start has been told."""
        self.blind_since: float | None = None
        """Since when the API server does not answer; None while it does."""

    async def run(self) -> None:
        """List, watch, list again; trouble costs a pause that grows while it goes on."""
        shortest, longest = PAUSE_SECONDS
        pause = shortest
        while True:
            began = asyncio.get_running_loop().time()
            try:
                version = await self._list()
                self.listed.set()
                self.blind_since = None
                await self._watch(version)
            except (httpx2.HTTPError, ValueError) as error:
                self.blind_since = self.blind_since or time.monotonic()
                if asyncio.get_running_loop().time() - began > longest:
                    pause = shortest
                level = logging.WARNING if pause == shortest else logging.DEBUG
                log.log(level, "%s cannot be followed (%s), will be listed again", self._kind.__name__, _words(error))
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - spreads reconnects, keeps no secret
                pause = min(pause * 2, longest)

    async def _list(self) -> str:
        listing = self._client.list(self._kind, labels=self._labels, chunk_size=500)
        found = {item.metadata.name: item.to_dict() async for item in listing}
        for name in self._known - found.keys():
            self._change(name, None)
        for name, item in found.items():
            self._change(name, item)
        return str(listing.resourceVersion)

    async def _watch(self, version: str) -> None:
        """Tell changes until it is time to list again. lightkube itself takes up a watch that the server ended."""
        longest = WATCH_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spreads lists, keeps no secret
        watch: Any = self._client.watch(
            self._kind, labels=self._labels, resource_version=version, server_timeout=round(longest) + 1
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(longest), aclosing(watch) as changes:
                async for change, item in changes:
                    self._change(item.metadata.name, None if change == "DELETED" else item.to_dict())

    def _change(self, name: str, item: Item | None) -> None:
        if item is None:
            self._known.discard(name)
        else:
            self._known.add(name)
        self._tell(name, item)


def _words(error: Exception) -> str:
    if isinstance(error, ApiError):
        return f"{error.status.code} {error.status.reason}"
    return type(error).__name__
