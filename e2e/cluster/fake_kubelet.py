"""A kubelet without containers: a node that is ready, and pods on it that walk from Pending to Ready as their script says.

With the scheduler and the controller-manager of the api tier, Deployments become ready pods within tenths of a second, by the
hundred. A pod's script stands in its annotation `pod_status.ANNOTATION`.
"""

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import httpx2

from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_pod import FakePod, Order
from e2e.cluster.pod_status import Exit
from e2e.cluster.rest import Item, Rest, insist

_HEARTBEAT_SECONDS = 3.0
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_ROOM = {"cpu": "1000", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": "1000"}


class FakeKubelet:
    """One node, used in a ``with`` block; it runs in a thread of its own.

    `resources` come on top of plenty of CPU and memory, e.g. ``{"nvidia.com/gpu": "8"}``. Pods have addresses in 127.128.0.0/9,
    so a test may listen there and be a pod. After the block the node and its pods are gone.
    """

    def __init__(
        self, tier: ApiTier, node: str = "fake", resources: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        self._tier = tier
        self.node = node
        self._resources = _ROOM | dict(resources or {})
        self._labels = {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"} | dict(labels or {})
        self._pods: dict[str, FakePod] = {}
        self._thread = threading.Thread(target=self._run, name=f"kubelet {node}", daemon=True)
        self._begun = threading.Event()

    def __enter__(self) -> Self:
        """Start, and return once the node is there."""
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the node and its pods."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def set_ready(self, namespace: str, pod: str, *, ready: bool) -> None:
        """The readiness probe of a running pod succeeds, or fails, from now on."""
        self._order(namespace, pod, ready)

    def kill(self, namespace: str, pod: str, how: Exit | None = None) -> None:
        """The container of a running pod ends; by default it is killed for its memory."""
        self._order(namespace, pod, how or Exit(137, "OOMKilled"))

    def _order(self, namespace: str, pod: str, order: Order) -> None:
        asyncio.run_coroutine_threadsafe(self._pass_on(f"/{namespace}/pods/{pod}", order), self._loop).result()

    async def _pass_on(self, path: str, order: Order) -> None:
        for pod in self._pods.values():
            if pod.path.endswith(path):
                pod.orders.put_nowait(order)
                return
        message = f"no pod {path} on the node {self.node}"
        raise LookupError(message)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        rest = Rest(self._tier.url, self._tier.ca, self._tier.token("kubelet"))
        try:
            await insist(lambda: self._register(rest))
            self._begun.set()
            await self._work(rest)
            await self._leave(rest)
        finally:
            await rest.close()

    async def _work(self, rest: Rest) -> None:
        """Until asked to stop, or until something fails that trying again does not cure."""
        async with asyncio.TaskGroup() as tasks:
            own = [tasks.create_task(self._beat(rest)), tasks.create_task(self._follow(rest, tasks))]
            await self._stopping.wait()
            for task in own:
                task.cancel()
            for pod in self._pods.values():
                pod.abandon()

    async def _register(self, rest: Rest) -> bool:
        await rest.create("/api/v1/nodes", {"metadata": {"name": self.node, "labels": self._labels}, "status": self._status()})
        await rest.patch(f"/api/v1/nodes/{self.node}/status", {"status": self._status()})
        await rest.create(_LEASES, {"metadata": {"name": self.node}, "spec": self._lease()})
        return True

    def _status(self) -> Item:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": moment}
        return {"capacity": self._resources, "allocatable": self._resources, "conditions": [ready | {"lastTransitionTime": moment}]}

    def _lease(self) -> Item:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": self.node, "leaseDurationSeconds": 40, "renewTime": moment}

    async def _beat(self, rest: Rest) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            with suppress(httpx2.HTTPError):
                await rest.patch(f"{_LEASES}/{self.node}", {"spec": self._lease()})

    async def _follow(self, rest: Rest, tasks: asyncio.TaskGroup) -> None:
        async for told in rest.follow("/api/v1/pods", f"spec.nodeName={self.node}"):
            if isinstance(told, list):
                for uid in self._pods.keys() - {pod["metadata"]["uid"] for pod in told}:
                    self._forget(uid)
                for pod in told:
                    self._see(pod, rest, tasks)
            elif told[0] == "DELETED":
                self._forget(told[1]["metadata"]["uid"])
            else:
                self._see(told[1], rest, tasks)

    def _see(self, pod: Item, rest: Rest, tasks: asyncio.TaskGroup) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._pods:
            self._pods[uid] = FakePod(pod, rest, tasks)
        if pod["metadata"].get("deletionTimestamp"):
            self._pods[uid].stop(pod["metadata"].get("deletionGracePeriodSeconds", 0))

    def _forget(self, uid: str) -> None:
        if uid in self._pods:
            self._pods.pop(uid).abandon()

    async def _leave(self, rest: Rest) -> None:
        with suppress(httpx2.HTTPError):
            await rest.delete(f"/api/v1/nodes/{self.node}")
            await rest.delete(f"{_LEASES}/{self.node}")
            for pod in self._pods.values():
                await pod.remove()
