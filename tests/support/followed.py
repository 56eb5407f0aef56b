"""The fleet of an orchestrator on a real API server: what a test writes there, and what the fleet tells."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from e2e.cluster.apitier import ApiTier
from e2e.cluster.pod_status import Script
from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet
from stoker_orchestrator.domain.events import FleetEvent
from stoker_orchestrator.domain.model import EndpointState
from stoker_orchestrator.domain.registry import Registry
from tests.support.network import Line
from tests.support.waiting import eventually, until

WELL = Script()
MODELS = "modeldeployments.stoker.dev"


class Cluster:
    """One namespace, written to as its owner, its operator and its Deployments would."""

    def __init__(self, tier: ApiTier, namespace: str) -> None:
        self.tier = tier
        self.namespace = namespace

    async def kubectl(self, *arguments: str, text_in: str | None = None) -> str:
        return await asyncio.to_thread(self.tier.kubectl, "-n", self.namespace, *arguments, text_in=text_in)

    async def apply(self, item: dict[str, Any], *flags: str) -> None:
        await self.kubectl("apply", "--server-side", *flags, "-f", "-", text_in=json.dumps(item))

    async def model(self, name: str, **spec: Any) -> None:
        said = {"pipeline": "text-to-image", "modelId": f"org/{name}"} | spec
        await self.apply({"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": said})

    async def pod(self, name: str, of: str = "m", capacity: int = 1, script: Script = WELL, uid: str = "", **spec: Any) -> None:
        """A worker of the resource `of`; `uid` is that resource's, where the pod says it."""
        labels = {"app.kubernetes.io/managed-by": "stoker", "stoker.dev/model-deployment": of}
        labels |= {"stoker.dev/resource-uid": uid} if uid else {}
        worker = {"name": "worker", "image": "worker:1", "env": [{"name": "CAPACITY", "value": str(capacity)}]}
        meta = {"name": name, "labels": labels, "annotations": script.annotation()}
        await self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [worker]} | spec})

    def get(self, name: str) -> dict[str, Any]:
        get = ("-n", self.namespace, "get", MODELS, name, "-o", "json", "--show-managed-fields")
        return dict(json.loads(self.tier.kubectl(*get)))

    def advertised(self, name: str) -> dict[str, Any]:
        found = self.get(name).get("status", {}).get("conditions", [])
        return next((dict(each) for each in found if each["type"] == "Advertised"), {})

    def writes(self) -> list[str]:
        """What orchestrators wrote in this namespace."""
        return [each for each in self.tier.writes("orchestrator") if f"/namespaces/{self.namespace}/" in each]


class Orchestrator:
    """What one fleet told, and the registry that an orchestrator makes of it."""

    def __init__(self, fleet: KubernetesFleet) -> None:
        self.fleet = fleet
        self.events: list[FleetEvent] = []
        self.registry = Registry()

    def take(self, event: FleetEvent) -> None:
        self.events.append(event)
        self.registry.apply(event, now=0)

    def states(self) -> dict[str, EndpointState]:
        return {each.id: each.state for each in self.registry.endpoints}

    def models(self) -> set[str]:
        return {each.name for each in self.registry.models}


@asynccontextmanager
async def following(cluster: Cluster, kubeconfig: Path | None = None) -> AsyncIterator[Orchestrator]:
    fleet = KubernetesFleet.connect(cluster.namespace, kubeconfig or cluster.tier.kubeconfig("orchestrator"))
    orchestrator = Orchestrator(fleet)
    task = asyncio.create_task(fleet.run(orchestrator.take))
    try:
        await until(lambda: orchestrator.registry.synced or task.done())
        yield orchestrator
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def line(cluster: Cluster, folder: Path) -> AsyncIterator[tuple[Line, Path]]:
    """A way to the API server that can be cut, and a kubeconfig that goes it."""
    async with Line(int(cluster.tier.url.rsplit(":", 1)[1])) as way:
        kubeconfig = folder / "kubeconfig"
        direct = cluster.tier.kubeconfig("orchestrator").read_text()
        kubeconfig.write_text(direct.replace(cluster.tier.url, f"https://127.0.0.1:{way.port}"))
        yield way, kubeconfig


async def someone_else_says(cluster: Cluster, name: str, kind: str, **condition: str) -> None:
    """Another writer of the status, with a condition of its own, or with ours."""
    said = {"type": kind, "lastTransitionTime": "2026-01-02T03:04:05Z"} | condition
    status = {"replicas": 1, "conditions": [said]}
    item = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "status": status}
    await cluster.apply(item, "--subresource=status", "--field-manager=someone-else", "--force-conflicts")


async def becomes(cluster: Cluster, **wanted: Any) -> None:
    """Wait until the condition `Advertised` of the model `m` has these fields."""
    await asyncio.to_thread(eventually, lambda: wanted.items() <= cluster.advertised("m").items(), 10)
