"""What the orchestrator's scaling reads and writes on a real API server, with its controllers and scheduler."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.fake_kubelet import FakeKubelet
from e2e.cluster.pod_status import Script
from stoker_contracts import names
from stoker_contracts.resources.scaling import ScalingDecision, ScalingReason
from stoker_orchestrator.adapters.fleets import sight
from stoker_orchestrator.domain.events import EndpointSeen, Sight
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import EndpointState
from stoker_orchestrator.domain.scaling import Scale, Scaling
from stoker_orchestrator.domain.switchboard import Granted, Switchboard
from tests.support.followed import MODELS, Cluster, following, line, someone_else_says
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.api

GPU = "nvidia.com/gpu"
LABELS = {"app.kubernetes.io/managed-by": "stoker", "stoker.dev/model-deployment": "m"}


def decision(second: int, after: int = 1) -> ScalingDecision:
    moment = datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC)
    return ScalingDecision(time=moment, before=0, after=after, reason=ScalingReason.WAKE, message="a job came")


def decisions(cluster: Cluster) -> list[dict[str, Any]]:
    return list(cluster.get("m").get("status", {}).get("scaling", {}).get("decisions", []))


async def deployment(cluster: Cluster, replicas: int, script: Script) -> None:
    """The workers of `m`, as the operator makes them."""
    worker = {"name": "worker", "image": "worker:1"}
    template = {"metadata": {"labels": LABELS, "annotations": script.annotation()}, "spec": {"containers": [worker]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    await cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "m"}, "spec": spec})


@asynccontextmanager
async def cordoned(cluster: Cluster, kubelet: FakeKubelet) -> AsyncIterator[None]:
    """No pod begins on the node meanwhile."""
    await cluster.kubectl("cordon", kubelet.node)
    try:
        yield
    finally:
        await cluster.kubectl("uncordon", kubelet.node)


async def test_a_worker_tells_its_devices_and_that_no_node_has_them_free(cluster: Cluster) -> None:
    limits = {GPU: "2", "cpu": "1", "memory": "64Mi"}
    async with following(cluster) as told:
        await cluster.pod("small")
        await cluster.pod("big", containers=[{"name": "worker", "image": "worker:1", "resources": {"limits": limits}}])
        await until(lambda: any(each.no_room for each in told.registry.endpoints))
        await until(lambda: told.states().get("small.0") is EndpointState.READY)
        small, big = (told.registry.endpoint(identity) for identity in ("small.0", "big.0"))

    assert small is not None
    assert big is not None
    assert (small.devices, small.no_room) == ({}, "")
    assert small.node
    assert big.devices == {GPU: 2}
    assert f"Insufficient {GPU}" in big.no_room
    assert big.node == ""


async def test_the_rank_of_a_worker_is_written_only_where_it_differs(cluster: Cluster) -> None:
    async with following(cluster) as told:
        await cluster.pod("a")
        await until(lambda: "a.0" in told.states())
        for cost in (0, -1, -1):
            await told.fleet.rank("a.0", cost)
            await until(lambda cost=cost: _cost(told.fleet._pods["a"]) == cost)  # type: ignore[misc]
        await told.fleet.rank("no-such-worker.0", -1)

    assert len([each for each in cluster.writes() if "/pods/a" in each]) == 1


async def test_ranking_a_worker_that_is_gone_since_is_no_failure(cluster: Cluster) -> None:
    async with following(cluster) as told:
        await cluster.pod("a")
        await until(lambda: "a.0" in told.states())
        pods = dict(told.fleet._pods)
        await cluster.kubectl("delete", "pod", "a")
        told.fleet._pods = pods

        await told.fleet.rank("a.0", -1)


async def test_the_worker_that_was_chosen_is_the_one_that_the_deployment_ends(cluster: Cluster) -> None:
    await deployment(cluster, 3, Script())
    async with following(cluster) as told:
        await until(lambda: list(told.states().values()) == [EndpointState.READY] * 3, seconds=30)
        chosen = sorted(told.states())[1]
        await told.fleet.rank(chosen, -1)
        await cluster.kubectl("scale", "deployment", "m", "--replicas=2")

        await until(lambda: len(told.states()) == 2, seconds=30)
        assert chosen not in told.states()


async def test_the_last_five_decisions_outlive_the_orchestrator_that_made_them(cluster: Cluster) -> None:
    await cluster.model("m")
    await someone_else_says(cluster, "m", "Ready", status="True", reason="Startable", message="no worker runs")
    async with following(cluster) as told:
        await told.fleet.explain("m", [decision(second) for second in range(4)])
    async with following(cluster) as told:
        await told.fleet.explain("m", [decision(10, after=7)])
        await until(lambda: len(told.fleet._resources["m"]["status"]["scaling"]["decisions"]) == 5)
        await told.fleet.explain("m", [decision(10, after=7), decision(11)])
        await told.fleet.explain("no-such-model", [decision(10)])

    shown = decisions(cluster)
    assert [each["time"][-4:] for each in shown] == [":01Z", ":02Z", ":03Z", ":10Z", ":11Z"]
    assert (shown[3]["after"], shown[3]["reason"], shown[3]["message"]) == (7, "Wake", "a job came")
    status = cluster.get("m")["status"]
    assert status["conditions"][0]["reason"] == "Startable"


async def test_blindness_is_told_once_it_lasts_and_sight_when_it_is_back(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sight, "BLIND_SECONDS", 0.5)
    monkeypatch.setattr(sight, "_LOOK_SECONDS", 0.05)
    async with line(cluster, tmp_path) as (way, kubeconfig), following(cluster, kubeconfig) as told:
        way.break_off()
        await cluster.pod("a")
        await until(lambda: "a.0" in told.states())
        assert Sight(clear=False) not in told.events, "a broken watch is taken up again"

        way.cut()
        await until(lambda: told.registry.blind_since is not None)
        await way.mend()
        await until(lambda: told.registry.blind_since is None)

    assert [each for each in told.events if isinstance(each, Sight)] == [Sight(clear=False), Sight(clear=True)]


async def test_jobs_wait_for_the_successor_of_a_worker_that_was_asked_to_stop(cluster: Cluster, kubelet: FakeKubelet) -> None:
    await cluster.model("m")
    await deployment(cluster, 1, Script(stop_seconds=1))
    async with following(cluster) as told:
        await until(lambda: list(told.states().values()) == [EndpointState.READY], seconds=30)
        board = Switchboard(told.registry)
        model = told.registry.model("m")
        assert model is not None
        (first,) = told.registry.endpoints
        running = board.arrive(1, model, Ask(1), now=0)
        async with cordoned(cluster, kubelet):
            await cluster.kubectl("delete", "pod", first.id.rpartition(".")[0], "--wait=false")
            await until(lambda: EndpointState.DRAINING in told.states().values())

            assert isinstance(running[0], Granted)
            assert not any(isinstance(each, Granted) for each in board.arrive(2, model, Ask(1), now=1))
        await until(lambda: EndpointState.READY in told.states().values(), seconds=30)
        (granted,) = board.look("m", now=2)

    assert isinstance(granted, Granted)
    assert granted.endpoint is not first
    seen = [each.state for each in told.events if isinstance(each, EndpointSeen) and each.id == first.id]
    assert seen[-1] is EndpointState.DRAINING


async def test_an_autoscaler_of_the_cluster_reads_the_scale_and_activity_stands_aside(cluster: Cluster) -> None:
    await cluster.model("m", replicas=2, scaling={"mode": "Manual"})
    status = {"replicas": 2, "selector": f"{names.LABEL_MODEL_DEPLOYMENT}=m"}
    resource = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "m"}, "status": status}
    await cluster.apply(resource, "--subresource=status", "--field-manager=stoker-operator")
    target = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "m"}
    spec = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 4, "metrics": [_cpu()]}
    await cluster.apply(
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "m"}, "spec": spec}
    )

    path = f"/apis/stoker.dev/v1alpha1/namespaces/{cluster.namespace}/modeldeployments/m/scale"
    scale = json.loads(await cluster.kubectl("get", "--raw", path))
    assert scale["status"] == {"replicas": 2, "selector": "stoker.dev/model-deployment=m"}
    await asyncio.to_thread(eventually, lambda: cluster.get("m")["spec"]["replicas"] == 3, 60)

    async with following(cluster) as told:
        await until(lambda: (found := told.registry.model("m")) is not None and found.replicas == 3)
        scaling = Scaling(Switchboard(told.registry), now=0)
        scaling.woken("m", now=0)
        asked = [each for now in (1, 700, 1400) for each in scaling.look(now) if isinstance(each, Scale)]
    assert asked == []
    assert cluster.writes() == []
    await cluster.kubectl("delete", "hpa", "m")
    await cluster.kubectl("delete", MODELS, "m")


def _cpu() -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


def _cost(pod: Any) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_DELETION_COST, 0))
