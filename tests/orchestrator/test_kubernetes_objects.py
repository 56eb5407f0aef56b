"""What objects of the Kubernetes API say, where they are incomplete or from another time."""

from typing import Any

import pytest

from stoker_orchestrator.adapters.fleets import objects
from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet
from stoker_orchestrator.domain.events import FleetEvent, ModelGone, ModelSeen
from stoker_orchestrator.domain.model import EndpointState


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "labels": {"stoker.dev/model-deployment": "m"}},
        "spec": {"containers": [{"name": "worker"}]},
        "status": status,
    }


def resource(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"pipeline": "text-to-image", "modelId": "org/m"} | spec}


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


def test_a_resource_that_is_not_understood_is_gone_and_leaves_the_others_alone() -> None:
    told: list[FleetEvent] = []
    fleet = KubernetesFleet(client=None)  # type: ignore[arg-type]

    fleet._see_model("a", resource("a"), told.append)
    fleet._see_model("b", resource("b"), told.append)
    fleet._see_model("a", resource("a", pipeline="text-to-opera"), told.append)
    fleet._see_model("a", resource("a", pipeline="text-to-ballet"), told.append)

    assert [type(each) for each in told] == [ModelSeen, ModelSeen, ModelGone]


def test_what_says_nothing_new_is_not_told_again() -> None:
    told: list[FleetEvent] = []
    fleet = KubernetesFleet(client=None)  # type: ignore[arg-type]

    for version in ("1", "2"):
        item = resource("a")
        fleet._see_model("a", item | {"metadata": item["metadata"] | {"resourceVersion": version}}, told.append)
        fleet._see_pod("p", pod(), told.append)

    assert len(told) == 2
