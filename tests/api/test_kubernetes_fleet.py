"""What the orchestrator sees of a cluster and what it writes: a real API server, real scheduling, the chart's own rights."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from e2e.cluster.pod_status import Exit, Script
from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_orchestrator.adapters.fleets import kubernetes
from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet
from stoker_orchestrator.adapters.fleets.port import FleetError
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.model import EndpointState
from tests.support.followed import MODELS, Cluster, becomes, following, line, someone_else_says
from tests.support.waiting import until

pytestmark = pytest.mark.api

WARM = Verdict("True", Reason.WARM, "advertised as warm")
COLD = Verdict("True", Reason.COLD, "advertised as cold: a job starts a worker")


async def test_what_is_there_is_told_first_then_what_changes(cluster: Cluster) -> None:
    await cluster.model("m", warm=True, price={"perUnit": "2", "unitsPer": "request"})
    await cluster.pod("a", capacity=3)
    await cluster.kubectl("wait", "pod/a", "--for=condition=Ready")

    async with following(cluster) as told:
        before = told.events[: told.events.index(Synced())]
        (model,) = (each.model for each in before if isinstance(each, ModelSeen))
        (endpoint,) = (each for each in before if isinstance(each, EndpointSeen))
        await cluster.model("n", pipeline="image-to-video")
        await until(lambda: told.models() == {"m", "n"})
        await cluster.kubectl("delete", MODELS, "m")
        await until(lambda: told.models() == {"n"})

    assert (model.model_id, model.warm, model.startable, model.start_timeout) == ("org/m", True, True, 600)
    assert model.price is not None
    assert (model.price.per_unit, model.price.unit) == ("2", "request")
    assert (endpoint.capacity, endpoint.state) == (3, EndpointState.READY)
    assert endpoint.address.startswith("127.")
    assert endpoint.address.endswith(":8000")
    assert ModelGone("m") in told.events


async def test_a_model_that_cannot_be_started_or_is_stuck_is_told_so(cluster: Cluster) -> None:
    await cluster.model("manual", scaling={"mode": "Manual"})
    await cluster.model("m")
    async with following(cluster) as told:
        manual = told.registry.model("manual")
        assert manual is not None
        assert not manual.startable

        await someone_else_says(
            cluster, "m", "Ready", status="False", reason="ImageNotPullable", message="the image cannot be pulled"
        )
        await until(lambda: any(model.obstacle for model in told.registry.models))

        model = told.registry.model("m")
        assert model is not None
        assert model.obstacle is not None
        assert model.obstacle.message == "the image cannot be pulled"


async def test_a_pod_is_an_endpoint_from_its_creation_to_its_end(cluster: Cluster, kubelet: FakeKubelet) -> None:
    async with following(cluster) as told:
        await cluster.pod("a", script=Script(stop_seconds=0.5))
        await until(lambda: told.states() == {"a.0": EndpointState.READY})

        kubelet.set_ready(cluster.namespace, "a", ready=False)
        await until(lambda: told.states() == {"a.0": EndpointState.STARTING}, seconds=3)
        kubelet.set_ready(cluster.namespace, "a", ready=True)
        await until(lambda: told.states() == {"a.0": EndpointState.READY}, seconds=3)
        await cluster.kubectl("delete", "pod", "a", "--wait=false")
        await until(lambda: told.states() == {"a.0": EndpointState.DRAINING})
        await until(lambda: told.states() == {})

    seen = [each.state for each in told.events if isinstance(each, EndpointSeen)]
    assert seen[0] is EndpointState.STARTING
    assert told.events[-1] == EndpointGone("a.0")


async def test_a_restarted_worker_is_a_new_endpoint(cluster: Cluster, kubelet: FakeKubelet) -> None:
    async with following(cluster) as told:
        await cluster.pod("a")
        await until(lambda: told.states() == {"a.0": EndpointState.READY})

        kubelet.kill(cluster.namespace, "a")

        await until(lambda: told.states() == {"a.1": EndpointState.READY})
        assert EndpointGone("a.0") in told.events


async def test_workers_of_an_earlier_resource_of_the_same_name_are_no_endpoints(cluster: Cluster) -> None:
    await cluster.model("m")
    await cluster.pod("a", uid=cluster.get("m")["metadata"]["uid"])
    await cluster.pod("b", uid="of-an-earlier-one")
    async with following(cluster) as told:
        await until(lambda: told.states() == {"a.0": EndpointState.READY})

        await cluster.kubectl("delete", MODELS, "m")
        await cluster.model("m", pipeline="image-to-image")

        await until(lambda: told.states() == {})


async def test_pods_that_have_ended_or_are_not_workers_are_no_endpoints(cluster: Cluster) -> None:
    async with following(cluster) as told:
        await cluster.apply(
            {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "foreign", "labels": {"stoker.dev/model-deployment": "m"}},
                "spec": {"containers": [{"name": "worker", "image": "worker:1"}]},
            }
        )  # fmt: skip
        await cluster.pod("a", script=Script(exit=Exit(1, "Error")), restartPolicy="Never")
        await cluster.pod("b")

        await until(lambda: EndpointGone("a.0") in told.events)
        await until(lambda: told.states() == {"b.0": EndpointState.READY})


async def test_scaling_asks_once_and_never_overwrites_what_others_asked_for(cluster: Cluster) -> None:
    await cluster.model("m")
    await cluster.model("three", replicas=3)
    async with following(cluster) as told:
        await told.fleet.scale("m", 1, expected=0)
        await told.fleet.scale("m", 1, expected=0)
        await told.fleet.scale("three", 1, expected=0)
        await told.fleet.scale("no-such-model", 1, expected=0)

    assert cluster.get("m")["spec"]["replicas"] == 1
    assert cluster.get("three")["spec"]["replicas"] == 3
    scaled = [each for each in cluster.writes() if "/m/scale" in each]
    assert cluster.writes() == scaled


async def test_scaling_from_what_is_no_longer_so_changes_nothing(cluster: Cluster) -> None:
    await cluster.model("m")
    async with following(cluster) as told:
        pass
    fleet = KubernetesFleet.connect(cluster.namespace, cluster.tier.kubeconfig("orchestrator"))
    fleet._resources = told.fleet._resources
    await cluster.kubectl("scale", MODELS, "m", "--replicas=3")

    with pytest.raises(FleetError, match="changes faster than it can be followed"):
        await fleet.scale("m", 1, expected=0)

    assert cluster.get("m")["spec"]["replicas"] == 3
    await fleet._client.close()


async def test_advertising_touches_one_condition_and_writes_only_what_is_new(cluster: Cluster) -> None:
    await cluster.model("m")
    await someone_else_says(cluster, "m", "Ready", status="True", reason="Serving", message="served")
    async with following(cluster) as told:
        before = cluster.get("m")
        await told.fleet.advertise("m", COLD)
        await until(lambda: told.fleet._unshown("m") is None)
        await told.fleet.advertise("m", COLD)
        await told.fleet.advertise("no-such-model", COLD)
    after = cluster.get("m")

    assert len(cluster.writes()) == 1
    assert after["spec"] == before["spec"]
    assert after["status"]["replicas"] == 1
    assert {each["type"]: each["reason"] for each in after["status"]["conditions"]} == {"Ready": "Serving", "Advertised": "Cold"}
    (ours,) = (each for each in after["metadata"]["managedFields"] if each["manager"] == "stoker-orchestrator")
    assert list(ours["fieldsV1"]) == ["f:status"]
    assert [key for key in ours["fieldsV1"]["f:status"]["f:conditions"] if key != "."] == ['k:{"type":"Advertised"}']


async def test_the_condition_follows_the_generation_and_survives_being_overwritten(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "SETTLE_SECONDS", (0.0, 0.1))
    await cluster.model("m")
    async with following(cluster) as told:
        await told.fleet.advertise("m", COLD)
        since = cluster.advertised("m")["lastTransitionTime"]

        await cluster.kubectl("scale", MODELS, "m", "--replicas=1")
        await becomes(cluster, observedGeneration=2, reason="Cold")
        assert cluster.advertised("m")["lastTransitionTime"] == since

        await someone_else_says(cluster, "m", "Advertised", status="False", reason="NotReady", message="by hand")
        await becomes(cluster, observedGeneration=2, reason="Cold")


async def test_two_orchestrators_that_see_the_same_leave_each_others_condition_alone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "SETTLE_SECONDS", (0.0, 0.1))
    await cluster.model("m")
    async with following(cluster) as one, following(cluster) as other:
        for verdict in (COLD, WARM):
            await asyncio.gather(one.fleet.advertise("m", verdict), other.fleet.advertise("m", verdict))
            await becomes(cluster, reason=verdict.reason.value)
        written = len(cluster.writes())
        for number in range(5):
            await cluster.kubectl("annotate", MODELS, "m", f"touched={number}", "--overwrite")
        await cluster.model("n")
        await until(lambda: "n" in one.models() & other.models())

        assert written <= 4
        assert len(cluster.writes()) == written


async def test_the_last_words_of_an_orchestrator_that_ends_are_corrected_by_the_one_that_stays(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "SETTLE_SECONDS", (0.0, 0.1))
    await cluster.model("m")
    async with following(cluster) as stays:
        await stays.fleet.advertise("m", WARM)
        async with following(cluster) as ends:
            await ends.fleet.advertise("m", COLD)

        await becomes(cluster, reason="Warm")
        assert len(cluster.writes()) == 3


async def test_what_changed_while_the_api_server_could_not_be_reached_is_told_afterwards(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.model("m")
    await cluster.pod("a")
    async with line(cluster, tmp_path) as (way, kubeconfig), following(cluster, kubeconfig) as told:
        await until(lambda: told.states() == {"a.0": EndpointState.READY})
        way.cut()
        await cluster.kubectl("delete", MODELS, "m")
        await cluster.kubectl("delete", "pod", "a")
        await cluster.model("n")
        await cluster.pod("b")
        with pytest.raises(FleetError, match="cannot be reached"):
            await told.fleet.scale("m", 1, expected=0)
        assert told.states() == {"a.0": EndpointState.READY}

        await way.mend()

        await until(lambda: told.states() == {"b.0": EndpointState.READY})
        await until(lambda: told.models() == {"n"})
        assert told.events.count(Synced()) == 1


async def test_a_watch_that_breaks_is_taken_up_again(cluster: Cluster, tmp_path: Path) -> None:
    async with line(cluster, tmp_path) as (way, kubeconfig), following(cluster, kubeconfig) as told:
        for number in range(3):
            way.break_off()
            await cluster.pod(f"p{number}")
            await until(lambda number=number: f"p{number}.0" in told.states())  # type: ignore[misc]


async def test_a_connection_that_died_silently_is_given_up(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "WATCH_SECONDS", 1.0)
    monkeypatch.setattr(kubernetes, "CALL_SECONDS", 1.0)
    async with line(cluster, tmp_path) as (way, kubeconfig), following(cluster, kubeconfig) as told:
        way.freeze()
        await cluster.pod("a")

        await until(lambda: told.states() == {"a.0": EndpointState.READY})


async def test_events_go_on_after_the_api_server_was_killed(orchestrator_rights: Iterable[dict[str, Any]]) -> None:
    with ApiTier() as tier:
        tier.install_crds()
        tier.make_namespace("stoker")
        tier.kubectl("apply", "--server-side", "-f", "-", text_in=yaml.safe_dump_all(orchestrator_rights))
        cluster = Cluster(tier, "stoker")
        await cluster.model("m")
        async with following(cluster) as told:
            tier.stop_server()
            with pytest.raises(FleetError, match="cannot be reached"):
                await told.fleet.scale("m", 1, expected=0)
            assert told.models() == {"m"}

            await asyncio.to_thread(tier.start_server)
            await cluster.model("n")
            await cluster.pod("a", of="n", nodeName="fake")

            await until(lambda: told.models() == {"m", "n"})
            await until(lambda: told.states() == {"a.0": EndpointState.STARTING})
            await told.fleet.scale("m", 1, expected=0)
        assert cluster.get("m")["spec"]["replicas"] == 1
