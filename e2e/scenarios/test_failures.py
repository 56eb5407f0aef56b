"""Each way a model can fail to run is told apart in ``kubectl get smd``, in words that a person can act on."""

from typing import Any

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import condition, model_deployment, row, send
from tests.support.waiting import eventually

FAILURES: list[tuple[str, dict[str, Any], str, str]] = [
    ("no-image", {"image": "stoker.dev/no-such-image:1"}, "ImageNotPullable", "stoker.dev/no-such-image:1"),
    ("no-card", {"gpu": {"count": 1}}, "Unschedulable", "nvidia.com/gpu"),
    ("no-claim", {"weights": {"claim": {"name": "absent"}}}, "WeightsMissing", "absent"),
    ("no-weights", {"script": {"weights_missing": True}}, "WeightsMissing", "the script says that the weights are missing"),
    ("broken", {"script": {"load_error": "the file unet.safetensors is damaged"}}, "LoadFailed", "unet.safetensors is damaged"),
    ("crashing", {"script": {"fault": "crash_at_load"}}, "CrashLoop", "SIGKILL"),
    ("forbidden", {"image": "stoker.dev/worker-stub:latest", "gpu": {"className": "absent"}}, "NotAccepted", "absent"),
]


@pytest.fixture(scope="module", autouse=True)
def applied(stub: Release) -> None:
    """All of them at once, so that their slow parts pass side by side."""
    stub.apply(*[model_deployment(name, warm=True, **spec) for name, spec, _, _ in FAILURES])


@pytest.mark.parametrize(("name", "reason", "words"), [(name, reason, words) for name, _, reason, words in FAILURES])
def test_a_failure_is_told_with_its_own_reason(stub: Release, http: httpx2.Client, name: str, reason: str, words: str) -> None:
    eventually(lambda: condition(stub, name, "Ready")[:2] == ("False", reason), seconds=120)

    _, _, message = condition(stub, name, "Ready")
    shown = row(stub, name)
    answer = send(http, f"org/{name}")

    assert words in message
    assert reason in shown
    assert answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE
    assert answer.json()["error"]["code"] == reason
    stub.delete(RESOURCES, name, "--wait=false")


def test_a_quota_that_is_used_up_is_told(stub: Release) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": {"limits.memory": "1Mi"}}}
    stub.apply(quota)
    try:
        stub.apply(model_deployment("squeezed", warm=True))

        eventually(lambda: condition(stub, "squeezed", "Ready")[:2] == ("False", "QuotaExceeded"), seconds=60)

        assert "tight" in condition(stub, "squeezed", "Ready")[2]
    finally:
        stub.delete("resourcequota", "tight")
        stub.delete(RESOURCES, "squeezed", "--wait=false")


def test_a_failure_that_is_mended_is_served(stub: Release, http: httpx2.Client) -> None:
    stub.apply(model_deployment("mended", warm=True, script={"load_error": "the file is damaged"}))
    eventually(lambda: condition(stub, "mended", "Ready")[1] == "LoadFailed", seconds=60)

    stub.apply(model_deployment("mended", warm=True, script={"load_seconds": 0}))

    eventually(lambda: condition(stub, "mended", "Ready")[0] == "True", seconds=90)
    assert eventually(lambda: send(http, "org/mended").status_code == httpx2.codes.OK)
    stub.delete(RESOURCES, "mended", "--wait=false")
