"""ModelDeployments whose containers somebody else runs: what the operator says of them, and what it takes away."""

from typing import Any

import pytest

from stoker_contracts.resources.conditions import ConditionType, Reason, Verdict
from stoker_operator.adapters.port import Kind
from stoker_operator.app.reconcile import Reconciler
from stoker_operator.domain.conditions.ready import ready
from stoker_operator.domain.conditions.warm import warm
from stoker_operator.domain.keys import Key, Scope
from stoker_operator.domain.observed import Observed, observed
from stoker_operator.domain.plan import plan
from stoker_operator.domain.status import verdicts
from tests.support import resources as made
from tests.support.fake_cluster import FakeCluster
from tests.support.resources import NOW

SINCE = "2027-01-15T08:00:00Z"


def external(count: int) -> dict[str, Any]:
    return {"endpoints": [{"url": f"https://host-{index}", "tokenKey": "provider"} for index in range(count)]}


def told(index: int, state: str, reason: str, message: str = "", generation: int = 1) -> dict[str, Any]:
    said = {"index": index, "state": state, "reason": reason, "since": SINCE, "observedGeneration": generation}
    return said | ({"message": message} if message else {})


def seen(count: int, *endpoints: dict[str, Any], **spec: Any) -> Observed:
    resource = made.resource(status={"endpoints": list(endpoints)}, external=external(count), **spec)
    return observed(resource, made.release())


DOWN = told(1, "Down", "NoAnswer", "endpoint 2 of 2 does not answer (connection refused)")


def test_containers_of_somebody_else_are_accepted_and_need_no_weights_and_no_deployment() -> None:
    judged = verdicts(seen(1), NOW)

    assert judged[ConditionType.ACCEPTED].holds
    assert judged[ConditionType.WEIGHTS_READY].reason is Reason.WEIGHTS_NOT_NEEDED
    assert plan(seen(1, warm=True), NOW).apply == ()


def test_what_the_release_says_of_its_own_workers_does_not_concern_them() -> None:
    resource = made.resource(external=external(1))
    foreign = made.deployment(owner=None, labelled=False)

    judged = verdicts(observed(resource, made.release(weights={"hub": {}}, gpu={"className": "mig"}), foreign), NOW)

    assert judged[ConditionType.ACCEPTED].holds


def test_one_container_that_takes_jobs_makes_the_model_ready_and_the_others_trouble_is_told() -> None:
    found = seen(2, told(0, "Ready", "Serving"), DOWN)

    assert ready(found, NOW) == Verdict("True", Reason.SERVING, f"1 of 2 endpoints take jobs; {DOWN['message']}")
    assert warm(found, NOW) == Verdict("True", Reason.LOADED, "loaded by 1 of 2 endpoints")


def test_a_model_whose_containers_are_all_down_says_of_each_why() -> None:
    refused = told(0, "Down", "TokenRefused", "endpoint 1 of 2 refuses the token (401); look at the key provider")
    found = seen(2, DOWN, refused)

    assert ready(found, NOW) == Verdict("False", Reason.TOKEN_REFUSED, f"{refused['message']}; {DOWN['message']}")
    assert warm(found, NOW) == Verdict("False", Reason.TOKEN_REFUSED, "no endpoint takes jobs")


def test_a_container_that_loads_its_model_is_a_start() -> None:
    loading = told(0, "Loading", "Loading", "endpoint 1 of 2 loads its model")

    assert ready(seen(2, loading, DOWN), NOW) == Verdict("False", Reason.STARTING, f"{loading['message']}; {DOWN['message']}")
    assert warm(seen(2, loading, DOWN), NOW).reason is Reason.LOADING


@pytest.mark.parametrize(
    "endpoints",
    [
        [],
        [told(0, "Down", "NoAnswer", "x")],
        [told(0, "Ready", "Serving", generation=0), told(1, "Ready", "Serving", generation=0)],
        [told(5, "Ready", "Serving")],
        [told(0, "Asleep", "FromALaterVersion")],
    ],
)
def test_what_was_not_told_of_this_generation_is_not_taken_for_true(endpoints: list[dict[str, Any]]) -> None:
    verdict = ready(seen(2, *endpoints), NOW)

    assert verdict == Verdict("False", Reason.STARTING, "the orchestrator has not told yet how the endpoints are")


def test_a_reason_of_a_later_version_is_no_mistake() -> None:
    assert ready(seen(1, told(0, "Down", "OnTheMoon", "endpoint 1 of 1 is far away")), NOW).reason is Reason.NOT_READY


def test_kubectl_shows_ready_urls_of_all() -> None:
    decided = plan(seen(2, told(0, "Ready", "Serving"), DOWN), NOW)

    assert decided.status is not None
    status = decided.status["status"]
    assert (status["warm"], status["readyReplicas"], status["replicas"]) == ("1/2", 1, 2)
    assert "endpoints" not in status, "they are the orchestrator's to write"


async def test_the_deployment_of_a_model_that_moves_to_somebody_elses_containers_is_removed_once() -> None:
    cluster = FakeCluster(made.resource(warm=True))
    operator = Reconciler(cluster, made.release(), clock=lambda: NOW)
    await operator.reconcile(Key(Scope.MODEL, "m"))
    cluster.of(Kind.MODEL_DEPLOYMENT, "m")["spec"]["external"] = external(1)
    cluster.writes.clear()

    await operator.reconcile(Key(Scope.MODEL, "m"))
    await operator.reconcile(Key(Scope.MODEL, "m"))

    assert (Kind.DEPLOYMENT, "m") not in cluster.objects
    assert cluster.writes.count("delete Deployment m") == 1


@pytest.mark.parametrize(
    "other", [made.deployment(owner=None, labelled=False), made.deployment(owner="uid-of-an-earlier-m")], ids=["foreign", "former"]
)
def test_a_deployment_that_is_not_this_resources_is_left_alone(other: dict[str, Any]) -> None:
    assert plan(observed(made.resource(external=external(1)), made.release(), other), NOW).delete == ()
