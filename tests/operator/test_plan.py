"""What is done about a ModelDeployment, and that nothing is done about one that is as it should be."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from stoker_contracts.resources.conditions import ConditionType
from stoker_contracts.resources.model_deployment import ModelDeploymentSpec
from stoker_operator.domain.keys import CONFIGS, Key, Scope, of_child, of_resource
from stoker_operator.domain.observed import Observed, Refusal, observed
from stoker_operator.domain.patience import REMOVAL_SECONDS, TAINTED_SECONDS
from stoker_operator.domain.plan import RETRY_SECONDS, SOON_SECONDS, UNWATCHED_SECONDS, Plan, plan
from tests.support import resources as made
from tests.support.instances import instances
from tests.support.resources import NOW, seen

CLAIM: dict[str, Any] = {"weights": {"claim": {"name": "models"}}}


def claim(phase: str) -> dict[str, Any]:
    return {"metadata": {"name": "models"}, "status": {"phase": phase}}


def after(found: Observed, decided: Plan, *pods: dict[str, Any]) -> Observed:
    """The observation once the plan has been carried out."""
    resource = copy.deepcopy(dict(found.resource))
    if decided.status is not None:
        resource["status"] = copy.deepcopy(decided.status["status"])
    child = found.deployment
    for application in decided.apply:
        child = copy.deepcopy(application.manifest)
        child["metadata"]["uid"] = "uid-deployment"
    return observed(resource, found.wanted.release if found.wanted else made.release(), child, pods)


def test_an_accepted_resource_gets_its_deployment_and_its_status() -> None:
    decided = plan(observed(made.resource(warm=True), made.release()), NOW)

    (application,) = decided.apply
    assert (application.manifest["kind"], application.over) == ("Deployment", None)
    assert decided.status is not None
    assert decided.status["metadata"] == {"name": "m", "uid": "uid-m"}
    assert decided.status["status"]["selector"] == "stoker.dev/model-deployment=m"


def test_a_second_plan_does_nothing() -> None:
    pods = [made.ready_pod()]
    found = observed(made.resource(warm=True), made.release(), None, pods)
    decided = plan(found, NOW)

    assert plan(after(found, decided, *pods), NOW + 3600) == Plan()


@given(spec=instances(ModelDeploymentSpec))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
def test_whatever_is_asked_for_a_second_plan_writes_nothing(spec: dict[str, Any]) -> None:
    found = observed(made.resource() | {"spec": spec}, made.release(allowedImagePrefixes=["a", "b"]))
    decided = plan(found, NOW)
    again = plan(after(found, decided), NOW + 1)

    assert (again.apply, again.status, again.events) == ((), None, ())


def test_a_changed_deployment_is_put_right_over_the_very_object_that_was_seen() -> None:
    found = seen(warm=True)
    first = plan(replace(found, deployment=None), NOW)
    edited = copy.deepcopy(first.apply[0].manifest)
    edited["metadata"]["uid"] = "uid-deployment"
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"

    (application,) = plan(replace(found, deployment=edited), NOW).apply

    assert (application.over, application.manifest) == ("uid-deployment", first.apply[0].manifest)


def test_annotations_and_sidecars_of_others_are_left_alone() -> None:
    found = seen(warm=True)
    child = copy.deepcopy(plan(replace(found, deployment=None), NOW).apply[0].manifest)
    child["metadata"] |= {"uid": "u", "annotations": child["metadata"]["annotations"] | {"injected": "yes"}}
    child["spec"]["template"]["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})

    assert plan(replace(found, deployment=child), NOW).apply == ()


def test_a_field_that_is_not_asked_for_any_more_is_noticed() -> None:
    found = seen(warm=True, pod={"annotations": {"a": "b"}})
    child = copy.deepcopy(plan(replace(found, deployment=None), NOW).apply[0].manifest)
    child["metadata"]["uid"] = "u"

    assert len(plan(replace(seen(warm=True), deployment=child), NOW).apply) == 1


def test_a_resource_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    assert plan(observed(made.resource(metadata={"deletionTimestamp": made.AT_NOW}), made.release()), NOW) == Plan()


@pytest.mark.parametrize(
    "found",
    [
        seen(image="evil:1", warm=True),
        seen(pipeline="text-to-speech"),
        seen(made=made.deployment(owner=None, labelled=False)),
        seen(made=made.deployment(owner="uid-of-an-earlier-m")),
    ],
)
def test_what_is_not_accepted_or_not_ours_is_left_as_it_runs(found: Observed) -> None:
    assert plan(found, NOW).apply == ()


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (seen(), None),
        (seen(made.ready_pod(), warm=True), None),
        (seen(warm=True), None),
        (seen(made.pod_with(made.running()), warm=True), RETRY_SECONDS),
        (seen(made.ready_pod(), made.pod_with(made.running()), replicas=2, scaling={"maxReplicas": 2}), RETRY_SECONDS),
        (seen(made=made.deployment(owner="uid-of-an-earlier-m")), SOON_SECONDS),
        (seen(made=made.deployment(owner=None, labelled=False)), UNWATCHED_SECONDS),
        (seen(**CLAIM), UNWATCHED_SECONDS),
        (seen(claim=claim("Pending"), **CLAIM), UNWATCHED_SECONDS),
        (seen(claim=claim("Bound"), **CLAIM), None),
        (replace(seen(warm=True), refusal=Refusal(422, "no")), RETRY_SECONDS),
    ],
)
def test_what_no_watch_will_tell_is_looked_at_again(found: Observed, seconds: float | None) -> None:
    assert plan(found, NOW).requeue_after == seconds


def test_the_status_counts_the_workers_and_shows_the_bad_ones_first() -> None:
    pods = [made.ready_pod(f"m-{index:02}") for index in range(12)]
    leaving = made.ready_pod("m-98", metadata={"name": "m-98", "deletionTimestamp": made.AT_NOW})
    stuck = made.pod_with(made.waiting("ErrImagePull"))
    stuck["metadata"]["name"] = "m-99"
    decided = plan(seen(*pods, leaving, stuck, replicas=13, scaling={"maxReplicas": 20}, gpu={"count": 2}), NOW)

    assert decided.status is not None
    status = decided.status["status"]
    assert (status["replicas"], status["readyReplicas"], status["warm"]) == (13, 12, "12/13")
    assert len(status["workers"]) == 10
    assert status["workers"][0] == {
        "name": "m-99", "node": "node-1", "state": "ImageNotPullable", "since": made.EARLIER, "device": "2 × nvidia.com/gpu",
    }  # fmt: skip
    assert [each["state"] for each in status["workers"][1:3]] == ["Draining", "Ready"]


def test_an_unreadable_spec_shows_no_devices() -> None:
    decided = plan(seen(made.ready_pod(), pipeline="nope"), NOW)

    assert decided.status is not None
    assert (decided.status["status"]["workers"], decided.status["status"]["warm"]) == ([], "0/0")


def test_the_orchestrators_condition_is_neither_written_nor_counted_as_a_difference() -> None:
    first = plan(seen(), NOW).status
    assert first is not None
    assert {each["type"] for each in first["status"]["conditions"]} == set(ConditionType) - {ConditionType.ADVERTISED}

    advertised = {"type": "Advertised", "status": "True", "reason": "Cold"}
    status = first["status"] | {"conditions": [advertised, *first["status"]["conditions"]]}
    assert plan(observed(made.resource(status=status), made.release(), made.deployment()), NOW).status is None


def test_a_transition_keeps_its_time_until_the_status_changes() -> None:
    start = plan(seen(made.pod_with(made.running()), warm=True), NOW).status
    assert start is not None
    later = made.resource(warm=True, status=start["status"])
    failed = made.pod_with(made.waiting("ErrImagePull", "no"))
    still = plan(observed(later, made.release(), made.deployment(), [failed]), NOW + 60).status
    ready = plan(observed(later, made.release(), made.deployment(), [made.ready_pod()]), NOW + 60).status

    def since(status: dict[str, Any] | None) -> str:
        assert status is not None
        return str(next(each["lastTransitionTime"] for each in status["status"]["conditions"] if each["type"] == "Ready"))

    assert since(still) == since(start) == made.AT_NOW
    assert since(ready) == "2027-01-15T08:01:00Z"


def test_a_worker_that_waits_for_a_tainted_node_is_looked_at_again_when_that_has_lasted() -> None:
    tainted = made.unscheduled_pod("0/1 nodes are available: 1 node(s) had untolerated taint(s).", since=made.AT_NOW)

    assert plan(seen(tainted, warm=True), NOW + 10).requeue_after == TAINTED_SECONDS - 10
    assert plan(seen(tainted, warm=True), NOW + TAINTED_SECONDS).requeue_after is None


def test_a_worker_that_waits_for_one_that_stops_is_looked_at_again_when_that_one_should_be_gone() -> None:
    found = seen(made.leaving_pod(by=made.AT_NOW), made.unscheduled_pod("0/1 nodes are available."), warm=True)

    assert plan(found, NOW - 3600).requeue_after == RETRY_SECONDS
    assert plan(found, NOW + 10).requeue_after == REMOVAL_SECONDS - 10
    assert plan(found, NOW + REMOVAL_SECONDS).requeue_after is None


def test_events_tell_transitions_only() -> None:
    found = seen(made.unscheduled_pod("0/1 nodes are available."), warm=True)
    decided = plan(found, NOW)
    told = {(each["type"], each["reason"]) for each in decided.events}
    assert told == {("Warning", "Unschedulable")}

    assert decided.status is not None
    standing = made.resource(warm=True, status=decided.status["status"])
    other_words = made.unscheduled_pod("0/2 nodes are available.")
    reworded = plan(observed(standing, made.release(), made.deployment(), [other_words]), NOW)
    assert reworded.status is not None
    assert reworded.events == ()


def test_missing_weights_are_told_when_they_are_missed_and_when_they_are_back() -> None:
    spec: dict[str, Any] = {"warm": True, "weights": {"image": {"reference": "w:1"}}}
    lost = made.pod_with(made.running(), last={"message": "WeightsMissing: no file"})
    missed = plan(seen(lost, **spec), NOW)
    assert [each["reason"] for each in missed.events] == ["WeightsMissing"], "one Event tells two conditions"

    assert missed.status is not None
    standing = made.resource(status=missed.status["status"], **spec)
    back = plan(observed(standing, made.release(), made.deployment(), [made.ready_pod()]), NOW)
    assert [each["reason"] for each in back.events] == ["WeightsLoaded", "Serving"]


def test_the_same_transition_makes_the_same_event_in_every_operator() -> None:
    names = [[each["metadata"]["name"] for each in plan(seen(made.ready_pod(), warm=True), NOW).events] for _ in range(2)]

    assert names[0] == names[1] != []


def test_a_beginning_that_goes_as_expected_is_no_event_and_a_refusal_and_its_end_are() -> None:
    assert plan(seen(), NOW).events == plan(seen(warm=True), NOW).events == ()

    refused = plan(seen(image="evil:1"), NOW)
    assert {each["reason"] for each in refused.events} == {"ImageNotAllowed", "NotAccepted"}
    assert refused.status is not None
    standing = made.resource(status=refused.status["status"])
    mended = plan(observed(standing, made.release(), made.deployment()), NOW)
    assert {each["reason"] for each in mended.events} == {"Accepted", "Startable"}


def test_a_change_concerns_the_resource_it_belongs_to() -> None:
    model = Key(Scope.MODEL, "m")
    from_config = made.resource(metadata={"labels": {"stoker.dev/models-config": "models"}, "name": "m"})

    assert of_resource(made.resource()) == (model,)
    assert of_resource(made.resource(), deleted=True) == (model, CONFIGS)
    assert of_resource(from_config) == (model, CONFIGS)
    assert of_child(made.pod()) == of_child(made.deployment()) == (model,)
    assert of_child({"metadata": {"name": "x"}}) == ()
    assert (str(model), str(CONFIGS)) == ("model/m", "models-configs")


@pytest.mark.parametrize(("age", "words"), [(59, "less than a minute"), (60, "1 minute"), (7199, "1 hour"), (7200, "2 hours")])
def test_times_are_told_so_coarsely_that_a_status_changes_once_a_minute_at_most(age: int, words: str) -> None:
    found = seen(made.pod_with(made.running()), warm=True)
    decided = plan(found, NOW - 150 + age)

    assert decided.status is not None
    assert next(each for each in decided.status["status"]["conditions"] if each["type"] == "Ready")["message"].endswith(words)
