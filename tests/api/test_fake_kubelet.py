"""The fake kubelet, with the real scheduler and the real controllers."""

import json
import time
from typing import Any

import pytest

from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from e2e.cluster.pod_status import Exit, Script
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

WELL = Script()


class Workloads:
    """Deployments and pods of one namespace."""

    def __init__(self, tier: ApiTier, namespace: str) -> None:
        self._tier = tier
        self.namespace = namespace

    def deploy(self, script: Script = WELL, replicas: int = 1, **spec: Any) -> None:
        template = {
            "metadata": {"labels": {"app": "w"}, "annotations": script.annotation()},
            "spec": {"containers": [{"name": "worker", "image": "worker:1"} | spec]},
        }
        self._apply(
            {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "w"}}, "template": template},
            }
        )  # fmt: skip

    def job(self, script: Script = WELL) -> None:
        template = {
            "metadata": {"labels": {"app": "w"}, "annotations": script.annotation()},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "worker:1"}]},
        }
        spec = {"backoffLimit": 0, "template": template}
        self._apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "w"}, "spec": spec})

    def get(self, what: str) -> list[dict[str, Any]]:
        return list(json.loads(self._tier.kubectl("get", what, "-n", self.namespace, "-o", "json"))["items"])

    def pod(self) -> dict[str, Any]:
        """The only one; it may not be there yet, which is an assertion that fails."""
        pods = self.get("pods")
        assert len(pods) == 1
        return pods[0]

    def container(self) -> dict[str, Any]:
        """As `pod`."""
        statuses = self.pod()["status"].get("containerStatuses", [])
        assert statuses
        return dict(statuses[0])

    def ready(self) -> int:
        return int(self.get("deployments")[0]["status"].get("readyReplicas", 0))

    def _apply(self, item: dict[str, Any]) -> None:
        self._tier.kubectl("apply", "--server-side", "-n", self.namespace, "-f", "-", text_in=json.dumps(item))


@pytest.fixture
def workloads(api_tier: ApiTier, kubelet: FakeKubelet, namespace: str) -> Workloads:
    return Workloads(api_tier, namespace)


def test_a_deployment_becomes_pods_that_are_ready_and_have_addresses(workloads: Workloads, api_tier: ApiTier) -> None:
    workloads.deploy(replicas=3)

    eventually(lambda: workloads.ready() == 3)
    addresses = {pod["status"]["podIP"] for pod in workloads.get("pods")}
    assert len(addresses) == 3

    api_tier.kubectl("scale", "deployment/w", "--replicas=1", "-n", workloads.namespace)
    eventually(lambda: len(workloads.get("pods")) == 1)


def test_an_image_that_cannot_be_pulled_is_said_in_the_container_status(workloads: Workloads) -> None:
    workloads.deploy(Script(pull_error="not found"))

    waiting = eventually(lambda: workloads.container()["state"].get("waiting"))

    assert waiting["reason"] == "ImagePullBackOff"
    assert 'image "worker:1": not found' in waiting["message"]
    assert workloads.pod()["status"]["phase"] == "Pending"
    assert workloads.ready() == 0


def test_a_container_that_ends_again_and_again_counts_its_restarts_and_keeps_its_last_words(workloads: Workloads) -> None:
    workloads.deploy(Script(exit=Exit(3, "Error", "WeightsMissing: no model_index.json"), exits=2))

    eventually(lambda: workloads.ready() == 1)

    container = workloads.container()
    assert container["restartCount"] == 2
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert container["lastState"]["terminated"]["message"] == "WeightsMissing: no model_index.json"


def test_between_two_starts_a_container_waits_in_crash_loop_back_off(workloads: Workloads) -> None:
    workloads.deploy(Script(exit=Exit(1, "Error"), back_off_seconds=60))

    waiting = eventually(lambda: workloads.container()["state"].get("waiting"))

    assert waiting["reason"] == "CrashLoopBackOff"


def test_a_running_pod_can_lose_its_readiness_and_its_container(workloads: Workloads, kubelet: FakeKubelet) -> None:
    workloads.deploy()
    eventually(lambda: workloads.ready() == 1)
    name = workloads.pod()["metadata"]["name"]

    kubelet.set_ready(workloads.namespace, name, ready=False)
    eventually(lambda: workloads.ready() == 0)
    kubelet.set_ready(workloads.namespace, name, ready=True)
    eventually(lambda: workloads.ready() == 1)
    kubelet.kill(workloads.namespace, name)

    eventually(lambda: workloads.container()["restartCount"] == 1 and workloads.ready() == 1)
    assert workloads.container()["lastState"]["terminated"]["reason"] == "OOMKilled"


def test_a_deleted_pod_stays_until_its_container_has_ended(workloads: Workloads, api_tier: ApiTier) -> None:
    workloads.deploy(Script(stop_seconds=2))
    eventually(lambda: workloads.ready() == 1)
    name = workloads.pod()["metadata"]["name"]

    began = time.monotonic()
    api_tier.kubectl("delete", "pod", name, "-n", workloads.namespace)

    assert 1.5 < time.monotonic() - began < 10


def test_extended_resources_bound_how_many_pods_fit(workloads: Workloads, api_tier: ApiTier) -> None:
    one = {"limits": {"nvidia.com/gpu": "1"}}
    with FakeKubelet(api_tier, "with-gpus", {"nvidia.com/gpu": "2"}):
        workloads.deploy(replicas=3, resources=one)

        eventually(lambda: workloads.ready() == 2)
        (left,) = [pod for pod in workloads.get("pods") if not pod["spec"].get("nodeName")]
        eventually(lambda: "Insufficient nvidia.com/gpu" in json.dumps(workloads.get("pods")))
        assert left["status"]["phase"] == "Pending"


@pytest.mark.parametrize(("script", "counted"), [(WELL, "succeeded"), (Script(exit=Exit(1, "Error")), "failed")])
def test_the_pod_of_a_job_runs_to_its_end(workloads: Workloads, script: Script, counted: str) -> None:
    workloads.job(script)

    eventually(lambda: workloads.get("jobs")[0]["status"].get(counted) == 1)


def test_two_hundred_pods_become_ready_and_go_together(workloads: Workloads, api_tier: ApiTier) -> None:
    workloads.deploy(replicas=200)
    eventually(lambda: workloads.ready() == 200, seconds=60)

    api_tier.kubectl("scale", "deployment/w", "--replicas=0", "-n", workloads.namespace)

    eventually(lambda: not workloads.get("pods"), seconds=60)
