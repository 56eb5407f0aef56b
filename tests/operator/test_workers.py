"""What is said of one worker pod."""

from typing import Any

import pytest

from stoker_contracts.resources.conditions import Reason
from stoker_operator.domain.workers import SEVERITY, Worker
from tests.support import resources as made

GPU = {"gpu": {"count": 2}}
WEIGHTS_IMAGE = {"weights": {"image": {"reference": "registry.example/weights:1"}}}
WEIGHTS_CLAIM = {"weights": {"claim": {"name": "models", "path": "sdxl"}}}


CACHE = made.release(compileCache={"claim": {"name": "cache", "path": "code"}})
COMPILING = {"optimization": {"compile": True}}


def judged(pod: dict[str, Any], **spec: Any) -> Worker:
    (worker,) = made.seen(pod, **spec).workers
    return worker


@pytest.mark.parametrize(
    ("message", "spec", "reason", "words"),
    [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", GPU, Reason.UNSCHEDULABLE,
         "no node has 2 free nvidia.com/gpu: 0/3"),
        ("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
         {"gpu": {"require": {"minDeviceMemory": "40Gi"}}}, Reason.UNSCHEDULABLE, "no node has a GPU as gpu.require asks"),
        ("0/3 nodes are available: 3 Insufficient memory.", {}, Reason.UNSCHEDULABLE, "no node takes the worker: 0/3"),
        ("", {}, Reason.UNSCHEDULABLE, "no reason"),
        ('persistentvolumeclaim "models" not found', WEIGHTS_CLAIM, Reason.WEIGHTS_MISSING, "claim"),
        ("pod has unbound immediate PersistentVolumeClaims", WEIGHTS_CLAIM, Reason.WEIGHTS_MISSING, "unbound"),
    ],
)  # fmt: skip
def test_a_pod_without_a_node_says_in_the_schedulers_words_why(
    message: str, spec: dict[str, Any], reason: Reason, words: str
) -> None:
    worker = judged(made.unscheduled_pod(message), **spec)

    assert (worker.reason, worker.node, worker.since) == (reason, None, made.EARLIER)
    assert words in worker.message


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("ErrImagePull", "rpc error: not found", "rpc error: not found"),
        (
            "ImagePullBackOff",
            f'Back-off pulling image "{made.WORKER_IMAGE}": ErrImagePull: rpc error: not found',
            "rpc error: not found",
        ),
        ("ImagePullBackOff", f'Back-off pulling image "{made.WORKER_IMAGE}"', "no cause told"),
        ("InvalidImageName", "couldn't parse image name", "couldn't parse image name"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named_with_the_kubelets_cause(reason: str, message: str, cause: str) -> None:
    worker = judged(made.pod_with(made.waiting(reason, message)))

    assert worker.reason is Reason.IMAGE_NOT_PULLABLE
    assert worker.message == f"the image {made.WORKER_IMAGE} cannot be pulled: {cause}"


def test_a_weights_image_that_cannot_be_pulled_is_missing_weights() -> None:
    message = 'Back-off pulling image "registry.example/weights:1": ErrImagePull: not found'
    worker = judged(made.pod_with(made.waiting("ImagePullBackOff", message)), **WEIGHTS_IMAGE)

    assert worker.reason is Reason.WEIGHTS_MISSING
    assert worker.message == "the weights image registry.example/weights:1 cannot be pulled: not found"


def test_a_folder_that_the_claim_does_not_have_is_missing_weights() -> None:
    message = 'failed to create subPath directory for volumeMount "models" of container "worker"'
    worker = judged(made.pod_with(made.waiting("CreateContainerConfigError", message)), **WEIGHTS_CLAIM)

    assert worker.reason is Reason.WEIGHTS_MISSING
    assert "no folder sdxl" in worker.message


@pytest.mark.parametrize(
    ("message", "spec", "reason"),
    [
        ('persistentvolumeclaim "cache" not found', COMPILING, Reason.UNSCHEDULABLE),
        ("pod has unbound immediate PersistentVolumeClaims", COMPILING, Reason.UNSCHEDULABLE),
        ('persistentvolumeclaim "cache" not found', COMPILING | WEIGHTS_CLAIM, Reason.UNSCHEDULABLE),
        ('persistentvolumeclaim "models" not found', COMPILING | WEIGHTS_CLAIM, Reason.WEIGHTS_MISSING),
        ("pod has unbound immediate PersistentVolumeClaims", COMPILING | WEIGHTS_CLAIM, Reason.WEIGHTS_MISSING),
        ('persistentvolumeclaim "models" not found', WEIGHTS_CLAIM, Reason.WEIGHTS_MISSING),
    ],
)
def test_a_claim_for_compiled_code_is_not_taken_for_the_weights(message: str, spec: dict[str, Any], reason: Reason) -> None:
    (worker,) = made.seen(made.unscheduled_pod(message), defaults=CACHE, **spec).workers

    assert worker.reason is reason
    assert ("the claim cache for compiled code" in worker.message) is (reason is Reason.UNSCHEDULABLE)


def test_a_folder_for_compiled_code_that_cannot_be_made_is_not_taken_for_the_weights() -> None:
    message = 'failed to create subPath directory for volumeMount "compiled" of container "worker"'
    pod = made.pod_with(made.waiting("CreateContainerConfigError", message))
    (worker,) = made.seen(pod, defaults=CACHE, **COMPILING, **WEIGHTS_CLAIM).workers

    assert (worker.reason, message in worker.message) == (Reason.NOT_READY, True)


def test_a_container_that_cannot_be_made_is_told_with_the_kubelets_reason() -> None:
    worker = judged(made.pod_with(made.waiting("CreateContainerError", "no such runtime")))

    assert (worker.reason, worker.message) == (
        Reason.NOT_READY, "a worker's container cannot be made: CreateContainerError: no such runtime",
    )  # fmt: skip


@pytest.mark.parametrize("state", [{}, made.waiting("ContainerCreating"), made.waiting("PodInitializing")])
def test_a_container_that_is_being_made_is_starting(state: dict[str, Any]) -> None:
    assert judged(made.pod_with(state)).reason is Reason.STARTING


@pytest.mark.parametrize(
    ("ended", "reason", "words"),
    [
        ({"message": "WeightsMissing: no model_index.json", "exitCode": 1}, Reason.WEIGHTS_MISSING, "no model_index.json"),
        ({"message": "LoadFailed: unknown class", "exitCode": 1}, Reason.LOAD_FAILED, "unknown class"),
        ({"message": "SettingsInvalid: CAPACITY: too large", "exitCode": 2}, Reason.LOAD_FAILED, "CAPACITY: too large"),
        ({"message": "OutOfMemory: 24 GiB are not enough", "exitCode": 1}, Reason.OUT_OF_MEMORY, "24 GiB are not enough"),
        ({"reason": "OOMKilled", "exitCode": 137}, Reason.OUT_OF_MEMORY, "resources.memory"),
        (
            {"message": "EngineFailed: the card is gone", "exitCode": 1},
            Reason.CRASH_LOOP,
            "the worker crashed 3 times; the card is gone",
        ),
        ({"exitCode": 137}, Reason.CRASH_LOOP, "the worker crashed 3 times; last exit code 137 (signal 9, SIGKILL)"),
        ({"exitCode": 250}, Reason.CRASH_LOOP, "last exit code 250 (signal 122)"),
        ({"exitCode": 0}, Reason.CRASH_LOOP, "the worker crashed 3 times; last exit code 0"),
        ({"exitCode": 1, "message": "INFO a\nTraceback\nKeyError: 'x'\n"}, Reason.CRASH_LOOP, "its last words: KeyError: 'x'"),
        ({"exitCode": 1, "message": "INFO up\nERROR x: LoadFailed: no torch\nINFO down\n"}, Reason.LOAD_FAILED, "no torch"),
    ],
)
def test_a_worker_that_ends_again_and_again_says_why(ended: dict[str, Any], reason: Reason, words: str) -> None:
    worker = judged(made.pod_with(made.waiting("CrashLoopBackOff", "back-off 40s"), last=ended, restarts=3))

    assert worker.reason is reason
    assert words in worker.message


def test_a_container_that_has_just_ended_counts_as_one_more_crash() -> None:
    worker = judged(made.pod_with({"terminated": {"exitCode": 1, "finishedAt": made.AT_NOW}}, restarts=0))

    assert (worker.reason, worker.since) == (Reason.CRASH_LOOP, made.AT_NOW)
    assert worker.message == "the worker crashed 1 time; last exit code 1"


def test_one_crash_may_be_chance_so_that_the_next_start_is_a_start() -> None:
    assert judged(made.pod_with(made.running(), last={"exitCode": 1}, restarts=1)).reason is Reason.STARTING
    assert judged(made.pod_with(made.running(), last={"exitCode": 1}, restarts=2)).reason is Reason.CRASH_LOOP


def test_a_load_that_failed_once_is_told_while_it_is_tried_again() -> None:
    ended = {"exitCode": 1, "message": "LoadFailed: unknown class"}

    assert judged(made.pod_with(made.running(), last=ended, restarts=1)).reason is Reason.LOAD_FAILED


def test_a_worker_that_was_ready_and_is_not_any_more_is_told_apart_from_one_that_loads() -> None:
    lost = made.pod_with(made.running(made.EARLIER), started=True, lost_at=made.AT_NOW, last={"exitCode": 1}, restarts=5)

    assert (judged(lost).reason, judged(lost).since) == (Reason.NOT_READY, made.AT_NOW)


def test_a_pod_that_was_evicted_is_told_in_the_kubelets_words() -> None:
    worker = judged(made.pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."))

    assert (worker.reason, worker.message) == (Reason.NOT_READY, "the pod failed: The node was low on resource: memory.")


def test_a_pod_that_ended_is_not_counted_beside_one_that_lives() -> None:
    assert made.seen(made.pod(phase="Succeeded")).workers == ()
    assert [each.name for each in made.seen(made.pod("m-1", phase="Failed"), made.ready_pod("m-2")).workers] == ["m-2"]


def test_a_worker_that_stops_tells_since_when() -> None:
    leaving = made.ready_pod(metadata={"deletionTimestamp": made.AT_NOW, "deletionGracePeriodSeconds": 150})

    assert (judged(leaving).state, judged(leaving).since) == ("Draining", made.EARLIER)


def test_long_words_are_cut() -> None:
    worker = judged(made.pod_with(made.waiting("ErrImagePull", "x" * 5000)))

    assert len(worker.message) < 600


def test_every_reason_of_a_worker_has_its_place_among_the_others() -> None:
    assert len(set(SEVERITY)) == len(SEVERITY) == 10
