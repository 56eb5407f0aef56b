"""What the operator says of a ModelDeployment, for everything that can be seen of it."""

from dataclasses import replace
from typing import Any

import pytest

from stoker_contracts.resources.conditions import ConditionType, Reason, Verdict
from stoker_operator.domain.conditions.accepted import accepted
from stoker_operator.domain.conditions.ready import ready
from stoker_operator.domain.conditions.warm import warm
from stoker_operator.domain.conditions.weights import weights
from stoker_operator.domain.observed import Refusal, observed
from stoker_operator.domain.patience import REMOVAL_SECONDS, TAINTED_SECONDS
from stoker_operator.domain.status import verdicts
from tests.support import resources as made
from tests.support.resources import NOW, seen

WARM: dict[str, Any] = {"warm": True}
CLAIM: dict[str, Any] = {"weights": {"claim": {"name": "models", "path": "sdxl"}}}
IMAGE: dict[str, Any] = {"weights": {"image": {"reference": "registry.example/weights:1"}}}


def claim(phase: str) -> dict[str, Any]:
    return {"metadata": {"name": "models"}, "status": {"phase": phase}}


def short(verdict: Verdict) -> tuple[str, Reason]:
    return verdict.status, verdict.reason


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"pipeline": "text-to-speech"}, Reason.INVALID_SPEC, "spec.pipeline"),
        ({"image": "other.example/worker:1"}, Reason.IMAGE_NOT_ALLOWED, "other.example/worker:1"),
        ({"gpu": {"className": "mig"}}, Reason.GPU_CLASS_UNKNOWN, "mig"),
        ({"gpu": {"sharing": "Shared", "memory": "8Gi"}}, Reason.SHARING_UNSUPPORTED, "Exclusive"),
        ({"gpu": {"require": {"products": ["NVIDIA H200*"]}}}, Reason.INVALID_SPEC, "NVIDIA H200*"),
        ({"weights": {"hub": {}}}, Reason.WEIGHTS_UNSUPPORTED, "weights.claim"),
    ],
)
def test_what_cannot_be_done_here_is_not_accepted_and_says_why(spec: dict[str, Any], reason: Reason, words: str) -> None:
    judged = verdicts(seen(**(WARM | spec)), NOW)

    assert short(judged[ConditionType.ACCEPTED]) == ("False", reason)
    assert words in judged[ConditionType.ACCEPTED].message
    assert short(judged[ConditionType.READY]) == ("False", Reason.NOT_ACCEPTED)
    assert judged[ConditionType.READY].message == judged[ConditionType.ACCEPTED].message
    assert short(judged[ConditionType.WEIGHTS_READY]) == ("Unknown", Reason.NOT_ACCEPTED)
    assert short(judged[ConditionType.WARM]) == ("False", Reason.NOT_ACCEPTED)


def test_a_name_that_fits_into_no_label_is_not_accepted() -> None:
    verdict = accepted(observed(made.resource("n" * 64), made.release()), NOW)

    assert short(verdict) == ("False", Reason.INVALID_SPEC)


@pytest.mark.parametrize(
    "image",
    [made.WORKER_IMAGE, "registry.example/stoker/any:2", "registry.example/exact:1", "registry.example/exact@sha256:00"],
)
def test_the_releases_image_and_those_under_an_allowed_prefix_are_accepted(image: str) -> None:
    prefixes = ["registry.example/stoker/", "registry.example/exact"]

    assert accepted(seen(image=image, defaults=made.release(allowedImagePrefixes=prefixes)), NOW).holds


@pytest.mark.parametrize("image", ["registry.example/exact-evil:1", "registry.example/stoker", "evil/registry.example/stoker/x"])
def test_an_image_that_only_begins_like_an_allowed_one_is_not_accepted(image: str) -> None:
    prefixes = ["registry.example/stoker/", "registry.example/exact"]

    assert not accepted(seen(image=image, defaults=made.release(allowedImagePrefixes=prefixes)), NOW).holds


@pytest.mark.parametrize(
    "foreign",
    [made.deployment(owner=None, labelled=False), made.deployment(owner="uid-else") | {"metadata": {
        "name": "m", "ownerReferences": [{"kind": "Rollout", "name": "m", "uid": "u", "controller": True}]}}],
)  # fmt: skip
def test_a_deployment_of_somebody_else_takes_the_name(foreign: dict[str, Any]) -> None:
    verdict = accepted(seen(made=foreign), NOW)

    assert short(verdict) == ("False", Reason.NAME_TAKEN)
    assert "rename" in verdict.message


def test_our_deployment_that_lost_its_owner_is_still_ours() -> None:
    assert accepted(seen(made=made.deployment(owner=None)), NOW).holds


@pytest.mark.parametrize(
    "former",
    [
        made.deployment(owner="uid-of-an-earlier-m"),
        made.deployment() | {"metadata": made.deployment()["metadata"] | {"deletionTimestamp": made.AT_NOW}},
    ],
)
def test_the_deployment_of_an_earlier_resource_is_waited_for(former: dict[str, Any]) -> None:
    judged = verdicts(seen(made=former, **WARM), NOW)

    assert judged[ConditionType.ACCEPTED].holds
    assert short(judged[ConditionType.READY]) == ("False", Reason.STARTING)
    assert "earlier" in judged[ConditionType.READY].message


@pytest.mark.parametrize(
    ("code", "message", "kind", "reason"),
    [
        (422, "spec.x is wrong", ConditionType.ACCEPTED, Reason.INVALID_SPEC),
        (403, "exceeded quota: q", ConditionType.READY, Reason.QUOTA_EXCEEDED),
        (403, "cannot patch resource", ConditionType.READY, Reason.NOT_READY),
    ],
)
@pytest.mark.parametrize("warm", [True, False])
def test_a_deployment_that_the_api_server_refuses_is_told_of_a_cold_model_too(
    code: int, message: str, kind: ConditionType, reason: Reason, *, warm: bool
) -> None:
    judged = verdicts(replace(seen(warm=warm), deployment=None, refusal=Refusal(code, message)), NOW)

    assert short(judged[kind]) == ("False", reason)
    assert message in judged[kind].message


@pytest.mark.parametrize(
    ("spec", "volume", "pods", "expected"),
    [
        ({}, None, [], ("True", Reason.WEIGHTS_NOT_NEEDED)),
        (CLAIM, None, [], ("False", Reason.WEIGHTS_MISSING)),
        (CLAIM, "Lost", [], ("False", Reason.WEIGHTS_MISSING)),
        (CLAIM, "Pending", [], ("Unknown", Reason.WEIGHTS_UNCHECKED)),
        (CLAIM, "Bound", [], ("Unknown", Reason.WEIGHTS_UNCHECKED)),
        (CLAIM, "Bound", [made.ready_pod()], ("True", Reason.WEIGHTS_LOADED)),
        (IMAGE, None, [], ("Unknown", Reason.WEIGHTS_UNCHECKED)),
        (IMAGE, None, [made.pod_with(made.running(), last={"message": "WeightsMissing: no model_index.json"})],
         ("False", Reason.WEIGHTS_MISSING)),
    ],
)  # fmt: skip
def test_weights_are_proven_by_a_worker_that_has_loaded_them(
    spec: dict[str, Any], volume: str | None, pods: list[dict[str, Any]], expected: tuple[str, Reason]
) -> None:
    found = seen(*pods, claim=claim(volume) if volume else None, **(WARM | spec))

    assert short(weights(found, NOW)) == expected
    if expected[0] == "False":
        assert short(ready(found, NOW)) == expected


def test_a_cold_model_that_activity_may_start_is_ready_and_not_warm() -> None:
    assert short(ready(seen(), NOW)) == ("True", Reason.STARTABLE)
    assert short(warm(seen(), NOW)) == ("False", Reason.COLD)


@pytest.mark.parametrize(("scaling", "words"), [({"mode": "Manual"}, "by hand"), ({"maxReplicas": 0}, "maxReplicas is 0")])
def test_a_model_at_zero_that_nothing_starts_is_stopped(scaling: dict[str, Any], words: str) -> None:
    verdict = ready(seen(scaling=scaling), NOW)

    assert short(verdict) == ("False", Reason.STOPPED)
    assert words in verdict.message


def test_a_worker_that_takes_jobs_makes_the_model_ready_and_warm() -> None:
    found = seen(made.ready_pod(), **WARM)

    assert ready(found, NOW) == Verdict("True", Reason.SERVING, "1 of 1 worker takes jobs")
    assert short(warm(found, NOW)) == ("True", Reason.LOADED)


def test_a_served_model_tells_what_keeps_further_workers_away() -> None:
    stuck = made.unscheduled_pod("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    verdict = ready(seen(made.ready_pod(), stuck, gpu={"count": 1}, replicas=2, scaling={"maxReplicas": 2}), NOW)

    assert verdict.holds
    assert verdict.message.startswith("1 of 2 workers take jobs; no node has 1 free nvidia.com/gpu")


def test_a_new_worker_without_a_node_is_no_trouble_while_the_old_one_finishes() -> None:
    stuck = made.unscheduled_pod("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    leaving = made.leaving_pod(by="2027-01-15T08:10:00Z")

    waiting = ready(seen(leaving, stuck, warm=True, gpu={"count": 1}), NOW)

    assert short(waiting) == ("False", Reason.STARTING)
    assert "while another finishes its jobs: no node has 1 free nvidia.com/gpu" in waiting.message
    assert ready(seen(stuck, warm=True, gpu={"count": 1}), NOW).reason is Reason.UNSCHEDULABLE


def test_an_old_worker_that_is_stuck_beyond_its_time_excuses_no_lack_of_a_node() -> None:
    found = seen(made.leaving_pod(by=made.AT_NOW), made.unscheduled_pod("0/1 nodes are available."), **WARM)

    assert ready(found, NOW + REMOVAL_SECONDS - 1).reason is Reason.STARTING
    assert ready(found, NOW + REMOVAL_SECONDS).reason is Reason.UNSCHEDULABLE


TAINTED = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."


@pytest.mark.parametrize(
    ("message", "later", "reason"),
    [
        (TAINTED, 0, Reason.STARTING),
        (TAINTED, TAINTED_SECONDS - 1, Reason.STARTING),
        (TAINTED, TAINTED_SECONDS, Reason.UNSCHEDULABLE),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.", 0, Reason.STARTING),
        ("0/1 nodes are available: 1 Insufficient memory.", 0, Reason.UNSCHEDULABLE),
    ],
)
def test_nodes_with_a_taint_are_waited_for_before_that_is_a_trouble(message: str, later: float, reason: Reason) -> None:
    verdict = ready(seen(made.unscheduled_pod(message, since=made.AT_NOW), **WARM), NOW + later)

    assert short(verdict) == ("False", reason)
    assert message in verdict.message


def test_a_start_says_for_how_long_it_has_been_going_on() -> None:
    verdict = ready(seen(made.pod_with(made.running()), **WARM), NOW)

    assert verdict == Verdict("False", Reason.STARTING, "a worker loads the model, for 2 minutes")
    assert short(warm(seen(made.pod_with(made.running()), **WARM), NOW)) == ("False", Reason.LOADING)


def test_before_there_is_a_pod_a_worker_is_starting() -> None:
    assert ready(seen(**WARM), NOW) == Verdict("False", Reason.STARTING, "a worker pod is being made")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            'pods "m-5d9f-x7k2p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0',
            Reason.QUOTA_EXCEEDED,
        ),
        ('pods "m-5d9f-" is forbidden: no PriorityClass with name none was found', Reason.NOT_READY),
    ],
)
def test_pods_that_cannot_be_made_are_told_without_the_name_that_differs_each_time(message: str, reason: Reason) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    verdict = ready(seen(made=made.deployment(status={"conditions": [failure]}), **WARM), NOW)

    assert short(verdict) == ("False", reason)
    assert message.partition("forbidden: ")[2] in verdict.message
    assert "m-5d9f" not in verdict.message


def test_the_worst_of_several_troubles_is_told() -> None:
    loading = made.pod_with(made.running())
    loading["metadata"]["name"] = "m-0"
    failed = made.pod_with(made.waiting("CrashLoopBackOff"), last={"message": "LoadFailed: bad config", "exitCode": 1}, restarts=2)

    assert ready(seen(loading, failed, **WARM), NOW) == Verdict("False", Reason.LOAD_FAILED, "bad config")


def test_a_worker_that_is_asked_to_stop_does_not_count() -> None:
    leaving = made.ready_pod(metadata={"deletionTimestamp": made.AT_NOW, "deletionGracePeriodSeconds": 30})

    assert short(ready(seen(leaving, **WARM), NOW)) == ("False", Reason.STARTING)
    assert short(warm(seen(leaving, **WARM), NOW)) == ("False", Reason.LOADING)


def test_the_workers_of_a_deleted_resource_of_the_same_name_do_not_count() -> None:
    former = made.ready_pod()
    former["metadata"]["labels"]["stoker.dev/resource-uid"] = "uid-of-an-earlier-m"

    assert short(ready(seen(former, **WARM), NOW)) == ("False", Reason.STARTING)
