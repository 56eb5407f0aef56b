"""A ModelDeployment with URLs on a real API server: operator and orchestrator together, each with the chart's rights."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from e2e.cluster.apitier import ApiTier
from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet
from stoker_orchestrator.app.process import Orchestrator
from stoker_orchestrator.app.settings import Settings
from tests.chart.helm import Helm
from tests.support.api_objects import Objects
from tests.support.followed import MODELS, Cluster
from tests.support.operator_process import OperatorProcess, grant_rights
from tests.support.runners import FakeRunner
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.api

TOKEN = "s3cret-t0ken"


@pytest.fixture
def operated(cluster: Cluster, api_tier: ApiTier, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The namespace with an operator."""
    with Objects(api_tier, cluster.namespace) as objects:
        grant_rights(Helm.at_home(tmp_path_factory.mktemp("helm")), objects)
        with OperatorProcess(api_tier, cluster.namespace, tmp_path_factory.mktemp("operator")):
            yield objects


@asynccontextmanager
async def orchestrator(cluster: Cluster, tokens: Path) -> AsyncIterator[httpx2.AsyncClient]:
    kubeconfig = cluster.tier.kubeconfig("orchestrator")
    settings = Settings(namespace=cluster.namespace, kubeconfig=kubeconfig, tokens_dir=tokens)
    made = Orchestrator(settings, KubernetesFleet.connect(cluster.namespace, kubeconfig))
    following = asyncio.create_task(made.broker.run())
    try:
        await until(lambda: made.broker.registry.synced or following.done(), seconds=20)
        port = await made.server.listen("127.0.0.1", 0)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, BaseExceptionGroup):
            await following
        await made.server.close()
        made._upstream.close()


def shown(objects: Objects, kind: str) -> tuple[str, str, str]:
    return objects.condition("m", kind)


async def becomes(objects: Objects, kind: str, *expected: str) -> None:
    await asyncio.to_thread(eventually, lambda: shown(objects, kind) == expected, 15)


async def test_a_model_moves_to_containers_of_somebody_else_and_says_which_of_them_is_down_and_why(
    cluster: Cluster, operated: Objects, tmp_path: Path
) -> None:
    (tmp_path / "provider").write_text(TOKEN)
    await cluster.model("m", replicas=0)
    await asyncio.to_thread(eventually, lambda: operated.get("Deployment", "m"))
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(FakeRunner(base="/a", token=TOKEN).running())
        other = await stack.enter_async_context(FakeRunner(token=TOKEN).running())
        client = await stack.enter_async_context(orchestrator(cluster, tmp_path))
        endpoints = [{"url": each.address, "tokenKey": "provider"} for each in (one, other)]

        await cluster.model("m", external={"endpoints": endpoints, "healthInterval": "100ms"})

        await becomes(operated, "Ready", "True", "Serving", "2 of 2 endpoints take jobs")
        await becomes(operated, "Advertised", "True", "Warm", "advertised as warm")
        await becomes(operated, "Warm", "True", "Loaded", "loaded by 2 of 2 endpoints")
        assert shown(operated, "WeightsReady")[1] == "WeightsNotNeeded"
        await asyncio.to_thread(eventually, lambda: operated.get("Deployment", "m") is None)
        answer = await client.post("/text-to-image", json={"prompt": "a", "model_id": "org/m"})
        assert (answer.status_code, answer.headers["Stoker-Worker"]) == (200, "m-url-0")

        await other.stop()
        words = "endpoint 2 of 2 does not answer (connection refused)"
        await becomes(operated, "Ready", "True", "Serving", f"1 of 2 endpoints take jobs; {words}")
        await becomes(operated, "Advertised", "True", "Warm", f"advertised as warm; {words}")

        await one.stop()
        both = f"endpoint 1 of 2 does not answer (connection refused); {words}"
        await becomes(operated, "Ready", "False", "NoAnswer", both)
        await becomes(operated, "Advertised", "False", "NotReady", f"not advertised: {both}")
        columns = await cluster.kubectl("get", MODELS, "m", "--no-headers")
        assert columns.split()[:6] == ["m", "text-to-image", "org/m", "0/2", "False", "NoAnswer"]
        status = operated.the("ModelDeployment", "m")["status"]
        assert [(each["index"], each["state"]) for each in status["endpoints"]] == [(0, "Down"), (1, "Down")]

        await other.start()
        await becomes(operated, "Warm", "True", "Loaded", "loaded by 1 of 2 endpoints")
        told = (
            str(operated.the("ModelDeployment", "m")["status"]) + str(operated.all("Event")) + (await client.get("/metrics")).text
        )
    assert not [secret for secret in (TOKEN, "localhost", str(one.port), str(other.port)) if secret in told]


async def test_a_model_that_comes_back_to_pods_has_its_deployment_again_and_no_endpoints(
    cluster: Cluster, operated: Objects, tmp_path: Path
) -> None:
    async with FakeRunner().running() as runner, orchestrator(cluster, tmp_path):
        await cluster.model("m", external={"endpoints": [{"url": runner.address}]})
        await becomes(operated, "Ready", "True", "Serving", "1 of 1 endpoint takes jobs")

        await cluster.model("m")

        await asyncio.to_thread(eventually, lambda: operated.get("Deployment", "m"))
        await becomes(operated, "Ready", "True", "Startable", "no worker runs; the first job starts one")
        await asyncio.to_thread(eventually, lambda: "endpoints" not in operated.the("ModelDeployment", "m")["status"])


@pytest.mark.parametrize(
    "endpoint",
    [{"url": "ftp://host"}, {"url": "http://me:secret@host"}, {"url": "http://host/?a=b"}, {"url": "http://host/#a"},
     {"url": "http://host", "tokenKey": "../other"}, {"url": "http://host", "tokenKey": "..data"},
     {"url": "http://host", "capacity": 0}],
)  # fmt: skip
async def test_the_api_server_refuses_urls_and_keys_that_could_lead_elsewhere(cluster: Cluster, endpoint: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"spec\.external"):
        await cluster.model("m", external={"endpoints": [endpoint]})
