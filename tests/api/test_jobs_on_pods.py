"""Jobs of an orchestrator over a real API server: the test plays the operator, and the worker at the pod's address."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from e2e.cluster.fake_kubelet import FakeKubelet
from e2e.cluster.pod_status import Script
from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet
from stoker_orchestrator.app.process import Orchestrator
from stoker_orchestrator.app.settings import Settings
from tests.support.followed import Cluster, becomes, line
from tests.support.waiting import eventually, until
from tests.support.workers import FakeWorker

pytestmark = pytest.mark.api

JOB = {"prompt": "a red circle", "model_id": "org/m"}
WHEN_TOLD = Script(start_seconds=300)


class Serving:
    """An orchestrator in this process."""

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        settings = Settings(fleet="kubernetes", namespace=cluster.namespace)
        self.orchestrator = Orchestrator(settings, KubernetesFleet.connect(cluster.namespace, kubeconfig))
        self.registry = self.orchestrator.broker.registry
        self.port = 0

    async def job(self) -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20) as client:
            return await client.post("/text-to-image", json=JOB)

    def address(self) -> str:
        """Where the worker's pod is, once it has an address."""
        found = [each.address for each in self.registry.endpoints]
        return found[0] if found and not found[0].startswith(":") else ""


@asynccontextmanager
async def serving(cluster: Cluster, kubeconfig: Path) -> AsyncIterator[Serving]:
    here = Serving(cluster, kubeconfig)
    task = asyncio.create_task(here.orchestrator.broker.run())
    try:
        await until(lambda: here.registry.synced)
        here.port = await here.orchestrator.server.listen("127.0.0.1", 0)
        yield here
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await here.orchestrator.server.close()
        here.orchestrator._upstream.close()


@asynccontextmanager
async def worker_in(cluster: Cluster, here: Serving, kubelet: FakeKubelet) -> AsyncIterator[FakeWorker]:
    """The pod ``a``, and a worker that listens at its address."""
    await cluster.pod("a", script=WHEN_TOLD)
    await until(here.address)
    host, port = here.address().rsplit(":", 1)
    async with FakeWorker().running(host, int(port)) as worker:
        kubelet.set_ready(cluster.namespace, "a", ready=True)
        yield worker


async def test_a_job_for_a_cold_model_waits_for_the_pod_that_it_causes(cluster: Cluster, kubelet: FakeKubelet) -> None:
    await cluster.model("m")
    async with serving(cluster, cluster.tier.kubeconfig("orchestrator")) as here:
        await becomes(cluster, reason="Cold")
        job = asyncio.create_task(here.job())
        await asyncio.to_thread(eventually, lambda: cluster.get("m")["spec"]["replicas"] == 1)
        async with worker_in(cluster, here, kubelet) as worker:
            answer = await job
            await becomes(cluster, reason="Warm")

    assert answer.status_code == 200
    assert answer.headers["stoker-worker"] == "a.0"
    assert len(worker.requests) == 1


async def test_jobs_go_on_while_the_api_server_cannot_be_reached(cluster: Cluster, kubelet: FakeKubelet, tmp_path: Path) -> None:
    await cluster.model("m")
    async with line(cluster, tmp_path) as (way, kubeconfig), serving(cluster, kubeconfig) as here:
        async with worker_in(cluster, here, kubelet) as worker:
            await becomes(cluster, reason="Warm")
            way.cut()

            answers = [await here.job() for _ in range(3)]

            assert [answer.status_code for answer in answers] == [200] * 3
            assert len(worker.requests) == 3
            await way.mend()
        await cluster.kubectl("delete", "pod", "a")
        await becomes(cluster, reason="Cold")
