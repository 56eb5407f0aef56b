"""What objects of the Kubernetes API say, where they are incomplete or from another time."""

from typing import Any

import pytest

from stoker_contracts.resources.conditions import Reason
from stoker_contracts.resources.endpoints import EndpointPhase, EndpointStatus
from stoker_orchestrator.adapters.fleets import objects
from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen
from stoker_orchestrator.domain.health import Report
from stoker_orchestrator.domain.model import EndpointState, Url


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "labels": {"stoker.dev/model-deployment": "m"}},
        "spec": {"containers": [{"name": "worker"}]},
        "status": status,
    }


def resource(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"pipeline": "text-to-image", "modelId": "org/m"} | spec}


def of(resource: dict[str, Any], uid: str) -> dict[str, Any]:
    return resource | {"metadata": resource["metadata"] | {"uid": uid}}


def labelled(pod: dict[str, Any], uid: str) -> dict[str, Any]:
    labels = pod["metadata"]["labels"] | {"stoker.dev/resource-uid": uid}
    return pod | {"metadata": pod["metadata"] | {"labels": labels}}


def test_a_pod_that_was_just_made_is_an_endpoint_that_starts() -> None:
    seen = objects.endpoint(pod())

    assert seen is not None
    assert (seen.id, seen.model, seen.capacity, seen.state) == ("p.0", "m", 1, EndpointState.STARTING)


@pytest.mark.parametrize(("told", "address"), [("10.0.0.1", "10.0.0.1:8000"), ("fd00::1", "[fd00::1]:8000")])
def test_addresses_of_both_families_can_be_called(told: str, address: str) -> None:
    seen = objects.endpoint(pod(podIP=told))

    assert seen is not None
    assert seen.address == address


def test_restarts_of_all_containers_make_a_new_endpoint() -> None:
    seen = objects.endpoint(pod(containerStatuses=[{"restartCount": 1}, {"restartCount": 2}]))

    assert seen is not None
    assert seen.id == "p.3"


def test_a_model_knows_the_decisions_that_its_resource_shows_but_for_those_of_a_later_release() -> None:
    made = {"time": "2026-01-02T03:04:05.600000Z", "before": 0, "after": 1, "reason": "Wake", "message": "a job came"}
    shown = resource("a") | {"status": {"scaling": {"decisions": [made, made | {"reason": "Intuition"}]}}}

    (decision,) = objects.model(shown).decisions

    assert decision.wire() == made


def test_a_resource_that_is_not_understood_is_gone_and_leaves_the_others_alone() -> None:
    told: list[FleetEvent] = []
    fleet = KubernetesFleet(client=None)  # type: ignore[arg-type]

    fleet._see_model("a", resource("a"), told.append)
    fleet._see_model("b", resource("b"), told.append)
    fleet._see_model("a", resource("a", pipeline="text-to-opera"), told.append)
    fleet._see_model("a", resource("a", pipeline="text-to-ballet"), told.append)

    assert [type(each) for each in told] == [ModelSeen, ModelSeen, ModelGone]


def test_a_pod_of_a_resource_that_is_made_again_serves_once_the_new_one_is_known() -> None:
    """The watch of pods may be ahead of that of resources."""
    told: list[FleetEvent] = []
    fleet = KubernetesFleet(client=None)  # type: ignore[arg-type]

    fleet._see_model("m", of(resource("m"), "old"), told.append)
    fleet._see_pod("p", labelled(pod(), "new"), told.append)
    assert [type(each) for each in told] == [ModelSeen]
    fleet._see_model("m", None, told.append)
    fleet._see_model("m", of(resource("m"), "new"), told.append)
    fleet._see_model("m", of(resource("m"), "newer"), told.append)

    assert [type(each) for each in told] == [ModelSeen, ModelGone, ModelSeen, EndpointSeen, EndpointGone]


def test_a_pod_that_is_not_understood_is_gone_and_leaves_the_others_alone() -> None:
    told: list[FleetEvent] = []
    fleet = KubernetesFleet(client=None)  # type: ignore[arg-type]
    odd = pod() | {"spec": {"containers": [{"name": "worker", "env": [{"name": "CAPACITY", "value": "two"}]}]}}

    fleet._see_pod("p", pod(), told.append)
    fleet._see_pod("p", odd, told.append)
    fleet._see_pod("q", odd, told.append)

    assert [type(each) for each in told] == [EndpointSeen, EndpointGone]


def test_what_says_nothing_new_is_not_told_again() -> None:
    told: list[FleetEvent] = []
    fleet = KubernetesFleet(client=None)  # type: ignore[arg-type]

    for version in ("1", "2"):
        item = resource("a")
        fleet._see_model("a", item | {"metadata": item["metadata"] | {"resourceVersion": version}}, told.append)
        fleet._see_pod("p", pod(), told.append)

    assert len(told) == 2


def test_containers_of_somebody_else_are_read_with_their_keys_and_nobody_here_can_start_them() -> None:
    external = {
        "endpoints": [{"url": "https://host/a", "tokenKey": "a", "capacity": 2}, {"url": "http://host"}],
        "healthInterval": "7s",
    }

    read = objects.model(resource("m", external=external, scaling={"mode": "Activity", "maxReplicas": 3}))

    assert read.urls == (Url("https://host/a", 2, "a"), Url("http://host"))
    assert (read.health_seconds, read.startable) == (7.0, False)


@pytest.mark.parametrize(
    ("reason", "hinders"), [("NotAccepted", True), ("NoAnswer", False), ("TokenRefused", False), ("CrashLoop", False)]
)
def test_what_the_operator_says_of_them_follows_from_what_was_reported_and_hinders_nothing(reason: str, *, hinders: bool) -> None:
    said = {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "words"}]}
    read = objects.model(resource("m", external={"endpoints": [{"url": "http://host"}]}) | {"status": said})

    assert (read.obstacle is not None) == hinders


def test_a_container_that_stays_as_it_is_stays_so_since_the_same_moment() -> None:
    well, silent = (
        Report(EndpointPhase.READY, Reason.SERVING),
        Report(EndpointPhase.DOWN, Reason.NO_ANSWER, "endpoint 2 of 2 is away"),
    )
    item = resource("m")
    item["metadata"]["generation"] = 4
    first = objects.endpoint_statuses(item, [well, well], 0.0)
    item = item | {"status": {"endpoints": first}}

    again = objects.endpoint_statuses(item, [well, silent], 60.0)

    assert objects.endpoint_statuses(item, [well, well], 60.0) == first
    assert [each["since"] for each in again] == ["1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z"]
    assert again[1] == {
        "index": 1, "state": "Down", "reason": "NoAnswer", "message": "endpoint 2 of 2 is away",
        "since": "1970-01-01T00:01:00Z", "observedGeneration": 4,
    }  # fmt: skip
    assert [EndpointStatus.model_validate(each).index for each in again] == [0, 1]
    there = resource("m", external={"endpoints": [{"url": "http://a"}, {"url": "http://b"}]}) | {"status": {"endpoints": again}}
    assert objects.model(there).told_down == {1}
    assert objects.model(resource("m") | {"status": {"endpoints": again}}).told_down == set()
