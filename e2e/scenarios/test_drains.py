"""Nodes that are emptied: workers finish their jobs, others take over, jobs wait in between."""

import json
import threading
from collections.abc import Iterator

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import all_ready, model_deployment, offers, pods
from e2e.scenarios.traffic import Background, busy_pod, traffic
from stoker_contracts import names
from tests.support.waiting import eventually

LONG = 20
"""Steps of a job that is under way when its worker is told to go; 2 s."""


@pytest.fixture
def moving(stub: Release, http: httpx2.Client) -> Iterator[str]:
    """A warm model with one worker."""
    stub.apply(model_deployment("moving", warm=True, script={"step_seconds": 0.1}))
    eventually(lambda: all_ready(stub, "moving", 1) and offers(http).get("org/moving"), seconds=60)
    yield "moving"
    stub.delete(RESOURCES, "moving")


def moved(release: Release, worker: str) -> bool:
    """Whether another worker than this one serves, and this one is gone."""
    return all_ready(release, "moving", 1) and release.get("pod", worker) is None


def test_an_evicted_worker_finishes_its_job_and_the_next_ones_wait_for_another(
    stub: Release, http: httpx2.Client, moving: str
) -> None:
    with traffic(stub, "org/moving") as told:
        long = Background(http, "org/moving", num_inference_steps=LONG)
        worker = eventually(lambda: busy_pod(stub, moving))
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": worker, "namespace": stub.namespace}}
        path = f"/api/v1/namespaces/{stub.namespace}/pods/{worker}/eviction"

        stub.kubectl("create", "--raw", path, "--filename", "-", text_in=json.dumps(eviction))

        eventually(lambda: moved(stub, worker), seconds=60)
        told.goes_on()
    assert told.failed == {}
    assert long.answer().status_code == httpx2.codes.OK


def test_a_drained_node_lets_workers_finish_and_jobs_wait_until_another_node_takes_them(
    stub: Release, http: httpx2.Client, moving: str
) -> None:
    node = stub.cluster.node
    workers = f"{names.LABEL_MODEL_DEPLOYMENT}={moving}"
    drain = ("drain", node, "--pod-selector", workers, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=60s")
    with traffic(stub, "org/moving") as told:
        long = Background(http, "org/moving", num_inference_steps=LONG)
        worker = eventually(lambda: busy_pod(stub, moving))
        draining = threading.Thread(target=stub.kubectl, args=drain)
        draining.start()
        try:
            eventually(lambda: [pod for pod in pods(stub, moving) if "nodeName" not in pod["spec"]])
        finally:
            stub.kubectl("uncordon", node)  # the only node of this cluster is the other one, too
        draining.join()

        eventually(lambda: moved(stub, worker), seconds=60)
        told.goes_on()
    assert told.failed == {}
    assert long.answer().headers["Stoker-Worker"].startswith(f"{worker}.")
