"""ModelDeployments on a real API server: workers, what is said of them, and every failure by its own reason."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from e2e.cluster.pod_status import Exit, Script
from tests.chart.helm import Helm
from tests.support.api_objects import Objects, model
from tests.support.operator_process import OperatorProcess, grant_rights
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

NAMESPACE = "operator-resources"
_NUMBERS = itertools.count(1)
SERVED: dict[str, Any] = {"warm": True}


def scripted(script: Script) -> dict[str, Any]:
    """The part of a spec that makes the played kubelet do this."""
    return {"pod": {"annotations": script.annotation()}}


def ending(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return scripted(Script(exit=Exit(code, reason, message)))


@pytest.fixture(scope="module")
def objects(api_tier: ApiTier, kubelet: FakeKubelet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    """A namespace under Pod Security *restricted* that one operator serves for all tests of this file."""
    api_tier.make_namespace(NAMESPACE)
    api_tier.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    with Objects(api_tier, NAMESPACE) as objects:
        grant_rights(Helm.at_home(tmp_path_factory.mktemp("helm")), objects)
        with OperatorProcess(api_tier, NAMESPACE, tmp_path_factory.mktemp("operator")):
            yield objects
    api_tier.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def name(objects: Objects) -> Iterator[str]:
    """The name of a test's own ModelDeployment, so that no test waits for the garbage collector."""
    name = f"m-{next(_NUMBERS)}"
    yield name
    if objects.get("ModelDeployment", name):
        objects.delete("ModelDeployment", name)


def test_a_warm_resource_is_served_and_shows_its_worker(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED))

    eventually(lambda: objects.condition(name) == ("True", "Serving", "1 of 1 worker takes jobs"))
    status = objects.the("ModelDeployment", name)["status"]
    (pod,) = objects.pods(name)
    (worker,) = status["workers"]
    assert (worker["name"], worker["node"], worker["state"]) == (pod["metadata"]["name"], "fake", "Ready")
    assert (status["observedGeneration"], status["replicas"], status["readyReplicas"]) == (1, 1, 1)
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Accepted": "True", "WeightsReady": "True", "Ready": "True", "Warm": "True",
    }  # fmt: skip


def test_a_cold_resource_is_started_and_stopped_by_its_scale(objects: Objects, name: str) -> None:
    objects.apply(model(name))
    eventually(lambda: objects.reason(name) == "Startable")

    objects.merge("ModelDeployment", name, {"spec": {"replicas": 1}}, "/scale")
    eventually(lambda: objects.reason(name) == "Serving")
    objects.merge("ModelDeployment", name, {"spec": {"replicas": 0}}, "/scale")

    eventually(lambda: objects.reason(name) == "Startable")
    eventually(lambda: objects.the("ModelDeployment", name)["status"]["replicas"] == 0)


def test_replicas_are_held_below_the_maximum(objects: Objects, name: str) -> None:
    objects.apply(model(name, replicas=5, scaling={"maxReplicas": 2}))

    eventually(lambda: objects.condition(name)[2] == "2 of 2 workers take jobs")


def test_a_worker_that_dies_or_stops_taking_jobs_is_seen_and_seen_coming_back(
    objects: Objects, name: str, kubelet: FakeKubelet
) -> None:
    objects.apply(model(name, **SERVED))
    eventually(lambda: objects.reason(name, "Warm") == "Loaded")
    (pod,) = objects.pods(name)

    kubelet.set_ready(NAMESPACE, pod["metadata"]["name"], ready=False)
    eventually(lambda: objects.condition(name, "Warm")[0] == "False")
    kubelet.set_ready(NAMESPACE, pod["metadata"]["name"], ready=True)
    eventually(lambda: objects.condition(name, "Warm")[0] == "True")

    objects.delete("Pod", pod["metadata"]["name"])
    eventually(lambda: objects.pods(name) and objects.pods(name)[0]["metadata"]["name"] != pod["metadata"]["name"])
    eventually(lambda: objects.reason(name) == "Serving")


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        (scripted(Script(pull_error="not found")), "ImageNotPullable", "stoker.dev/worker-stub:1"),
        ({"gpu": {"count": 2}}, "Unschedulable", "no node has 2 free nvidia.com/gpu"),
        ({"gpu": {"count": 1, "require": {"minDeviceMemory": "80Gi"}}}, "Unschedulable", "no node has a GPU as gpu.require asks"),
        ({"pod": {"nodeSelector": {"zone": "moon"}}}, "Unschedulable", "didn't match Pod's node affinity/selector"),
        (ending(1, message="WeightsMissing: no model_index.json"), "WeightsMissing", "no model_index.json"),
        (ending(1, message="LoadFailed: unknown class Foo"), "LoadFailed", "unknown class Foo"),
        (ending(1, message="OutOfMemory: 24 GiB are not enough"), "OutOfMemory", "24 GiB are not enough"),
        (ending(137, "OOMKilled"), "OutOfMemory", "resources.memory"),
        (ending(139), "CrashLoop", "signal 11, SIGSEGV"),
        ({"weights": {"claim": {"name": "nowhere"}}}, "WeightsMissing", "nowhere"),
        ({"image": "evil.example/worker:1"}, "NotAccepted", "evil.example/worker:1"),
        ({"gpu": {"sharing": "Shared", "memory": "8Gi"}}, "NotAccepted", "whole cards"),
        ({"gpu": {"className": "mig"}}, "NotAccepted", "mig"),
        ({"weights": {"hub": {}}}, "NotAccepted", "hub"),
        ({"pod": {"priorityClassName": "none-such"}}, "NotReady", "none-such"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_each_failure_has_its_own_reason_and_says_what_is_wrong(
    objects: Objects, name: str, api_tier: ApiTier, spec: dict[str, Any], reason: str, words: str
) -> None:
    objects.apply(model(name, **(SERVED | spec)))

    def told() -> bool:
        status, shown, message = objects.condition(name)
        return (status, shown) == ("False", reason) and words in message

    eventually(told)
    # One crash may be chance, so that a second start is a start again for a moment.
    eventually(lambda: reason in api_tier.kubectl("get", "smd", name, "-n", NAMESPACE))
    eventually(lambda: words in str([each["message"] for each in objects.all("Event") if each["reason"] == reason]))


def test_a_crash_loop_counts_and_a_worker_that_recovers_serves(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED, **scripted(Script(exit=Exit(1, "Error", "KeyError: 'x'"), exits=3, back_off_seconds=1))))

    eventually(lambda: "crashed 2 times" in objects.condition(name)[2])
    assert "KeyError: 'x'" in objects.condition(name)[2]
    eventually(lambda: objects.reason(name) == "Serving")


def test_a_slow_start_is_starting(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED, **scripted(Script(start_seconds=3))))

    eventually(lambda: "loads the model, for less than a minute" in objects.condition(name)[2])
    assert objects.condition(name)[:2] == ("False", "Starting")
    assert objects.condition(name, "Warm")[:2] == ("False", "Loading")
    eventually(lambda: objects.reason(name) == "Serving")


def test_a_quota_that_is_exceeded_is_told(objects: Objects, name: str) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    objects.apply(quota)
    eventually(lambda: objects.the("ResourceQuota", "none").get("status", {}).get("hard"))
    objects.apply(model(name, **SERVED))

    eventually(lambda: objects.reason(name) == "QuotaExceeded")

    assert "exceeded quota: none" in objects.condition(name)[2]
    objects.delete("ResourceQuota", "none")


def test_a_resource_that_is_stopped_by_hand_is_stopped(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED, scaling={"mode": "Manual"}))

    eventually(lambda: objects.condition(name)[:2] == ("False", "Stopped"))


def test_a_worker_on_cards_runs_where_cards_are(objects: Objects, name: str, api_tier: ApiTier) -> None:
    labels = {"nvidia.com/gpu.memory": "81559", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    require = {"minDeviceMemory": "40Gi", "products": ["NVIDIA H100 80GB HBM3"]}
    with FakeKubelet(api_tier, "with-gpus", {"nvidia.com/gpu": "1"}, labels):
        objects.apply(model(name, **SERVED, gpu={"count": 1, "require": require}))
        eventually(lambda: objects.reason(name) == "Serving")
        (worker,) = objects.the("ModelDeployment", name)["status"]["workers"]
        assert (worker["node"], worker["device"]) == ("with-gpus", "1 × nvidia.com/gpu")

        objects.apply(model("n", **SERVED, gpu={"count": 1}))
        eventually(lambda: objects.reason("n") == "Unschedulable")


def test_an_edited_child_is_restored_and_what_others_added_stays(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED))
    eventually(lambda: objects.reason(name) == "Serving")
    change = {
        "metadata": {"annotations": {"injected": "yes"}},
        "spec": {"replicas": 3, "template": {"spec": {"enableServiceLinks": True}}},
    }

    objects.merge("Deployment", name, change)

    def restored() -> bool:
        spec = objects.the("Deployment", name)["spec"]
        return spec["replicas"] == 1 and not spec["template"]["spec"]["enableServiceLinks"]

    eventually(restored, seconds=5)
    assert objects.the("Deployment", name)["metadata"]["annotations"]["injected"] == "yes"


def test_a_child_that_loses_its_labels_or_its_life_comes_back(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED))
    eventually(lambda: objects.reason(name) == "Serving")

    objects.merge("Deployment", name, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}, "ownerReferences": None}})
    eventually(lambda: objects.the("Deployment", name)["metadata"].get("ownerReferences"), seconds=5)

    uid = objects.the("Deployment", name)["metadata"]["uid"]
    objects.delete("Deployment", name)
    eventually(lambda: (objects.get("Deployment", name) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)


def test_a_deployment_of_somebody_else_is_never_taken_over(objects: Objects, name: str) -> None:
    template = {"metadata": {"labels": {"app": "theirs"}}, "spec": {"containers": [{"name": "c", "image": "theirs:1"}]}}
    theirs = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "theirs"}}, "template": template},
    }  # fmt: skip
    objects.apply(theirs)
    before = objects.the("Deployment", name)
    objects.apply(model(name, **SERVED))

    eventually(lambda: objects.reason(name, "Accepted") == "NameTaken")

    now = objects.the("Deployment", name)
    assert (now["spec"], now["metadata"]["uid"]) == (before["spec"], before["metadata"]["uid"])
    objects.delete("Deployment", name)


def test_a_deleted_resource_takes_its_workers_along_and_may_come_back_at_once(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED))
    eventually(lambda: objects.reason(name) == "Serving")
    first = objects.the("Deployment", name)["metadata"]["uid"]

    objects.delete("ModelDeployment", name)
    objects.apply(model(name, modelId="org/other", **SERVED))

    eventually(lambda: (objects.get("Deployment", name) or {"metadata": {"uid": first}})["metadata"]["uid"] != first, seconds=60)
    eventually(lambda: objects.reason(name) == "Serving")
    objects.delete("ModelDeployment", name)
    eventually(lambda: objects.get("Deployment", name) is None and not objects.pods(name), seconds=60)


def test_a_bad_edit_leaves_the_worker_that_serves(objects: Objects, name: str) -> None:
    objects.apply(model(name, **SERVED))
    eventually(lambda: objects.reason(name) == "Serving")
    before = copy.deepcopy(objects.the("Deployment", name)["spec"])

    objects.apply(model(name, **SERVED, image="evil.example/worker:1"))
    eventually(lambda: objects.reason(name) == "NotAccepted")

    assert objects.the("Deployment", name)["spec"] == before
    assert objects.condition(name, "Warm")[0] == "True"


def test_the_orchestrators_condition_is_left_alone(objects: Objects, name: str) -> None:
    objects.apply(model(name))
    eventually(lambda: objects.reason(name) == "Startable")
    status = objects.the("ModelDeployment", name)["status"]
    advertised = {"type": "Advertised", "status": "True", "reason": "Cold", "lastTransitionTime": "2026-01-02T03:04:05Z"}
    objects.merge("ModelDeployment", name, {"status": {"conditions": [*status["conditions"], advertised]}}, "/status")

    objects.merge("ModelDeployment", name, {"spec": {"replicas": 1}}, "/scale")
    eventually(lambda: objects.reason(name) == "Serving")

    assert objects.reason(name, "Advertised") == "Cold"
