"""Weights from a volume: what a claim holds is read, and what it does not hold is told."""

import json
from collections.abc import Iterator

import httpx2
import pytest

from e2e.images.models import model_folder
from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import JOB, condition, model_deployment
from tests.support.waiting import eventually

CLAIM = "models"
PATH = "models--stoker--tiny-text-to-image/snapshots/main"


@pytest.fixture(scope="module")
def claim(real: Release) -> Iterator[str]:
    """A claim with the tiny models, as an administrator would have filled it."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    real.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec})
    real.kubectl("wait", f"pvc/{CLAIM}", "--for=jsonpath={.status.phase}=Bound", "--timeout=60s")
    cluster = real.cluster
    volume = json.loads(cluster.kubectl("get", "pv", "--output", "json"))["items"][0]["spec"]["hostPath"]["path"]
    cluster.engine.docker(
        "cp", f"{model_folder()}/.", f"{cluster.node}:/opt/models"
    )  # which cannot see what is mounted in the node
    cluster.engine.docker("exec", cluster.node, "mkdir", "--parents", volume)
    cluster.engine.docker("exec", cluster.node, "cp", "--recursive", "/opt/models/.", volume)
    yield CLAIM
    real.delete("pvc", CLAIM, "--wait=false")


def test_a_model_is_loaded_from_a_folder_of_a_claim_under_any_name(real: Release, claim: str) -> None:
    weights = {"claim": {"name": claim, "path": PATH}}
    real.apply(model_deployment("claimed", modelId="my-team/my-model", weights=weights))
    with httpx2.Client(base_url=real.url, timeout=120) as caller:
        eventually(lambda: condition(real, "claimed", "Ready")[1] == "Startable")

        answer = caller.post("/text-to-image", json=JOB | {"model_id": "my-team/my-model"})

    assert answer.status_code == httpx2.codes.OK, answer.text
    eventually(lambda: condition(real, "claimed", "WeightsReady")[:2] == ("True", "WeightsLoaded"))
    real.delete(RESOURCES, "claimed", "--wait=false")


def test_a_claim_without_the_model_is_told_in_the_workers_words(real: Release, claim: str) -> None:
    real.apply(
        model_deployment("empty", modelId="my-team/absent", warm=True, weights={"claim": {"name": claim, "path": "nothing-here"}})
    )

    eventually(lambda: condition(real, "empty", "Ready")[:2] == ("False", "WeightsMissing"), seconds=90)

    assert "my-team/absent" in condition(real, "empty", "Ready")[2]
    real.delete(RESOURCES, "empty", "--wait=false")
