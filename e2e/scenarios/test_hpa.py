"""A HorizontalPodAutoscaler in the place of activity: it reads and writes the scale subresource, and Stoker stands aside."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import model_deployment, offers, pods
from e2e.scenarios.traffic import Background
from e2e.stage import Stage
from stoker_contracts import names
from tests.support.waiting import eventually

NAME = "busy"
CHART = Path(__file__).parent / "metrics_api"


@pytest.fixture
def metrics_api(stage: Stage, stub: Release) -> Iterator[None]:
    """The orchestrator's metrics, where autoscalers look for them."""
    where = ["--namespace", stub.namespace, "--wait", "--timeout", "120s"]
    stub.cluster.helm("upgrade", "--install", "metrics-api", str(CHART), *where, "--set", f"image={stage.images['operator']}")
    yield
    stub.cluster.helm("uninstall", "metrics-api", *where)


def autoscaler() -> dict[str, object]:
    """As many workers as jobs wait or run, one to three."""
    metrics = [
        {"type": "External", "external": {"metric": {"name": name, "selector": {"matchLabels": {"model": NAME}}}, "target": each}}
        for name in ("stoker_jobs_waiting", "stoker_jobs_in_flight")
        for each in ({"type": "AverageValue", "averageValue": "1"},)
    ]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME},
        "spec": {
            "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": NAME},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": metrics,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }


@pytest.mark.usefixtures("metrics_api")
def test_an_autoscaler_adds_workers_while_jobs_wait_and_takes_them_away_again(stub: Release, http: httpx2.Client) -> None:
    stub.apply(model_deployment(NAME, replicas=1, scaling={"mode": "Manual"}, script={"step_seconds": 2}))
    eventually(lambda: offers(http).get(f"org/{NAME}"), seconds=60)
    stub.apply(autoscaler())

    with httpx2.Client(base_url=stub.url, timeout=240, limits=httpx2.Limits(max_connections=20)) as caller:
        jobs = [Background(caller, f"org/{NAME}", num_inference_steps=10) for _ in range(7)]
        eventually(lambda: len(pods(stub, NAME)) == 3, seconds=60)
        answers = [job.answer() for job in jobs]

    assert {answer.status_code for answer in answers} == {200}
    eventually(lambda: len(pods(stub, NAME)) == 1, seconds=60)
    assert "scaling" not in (stub.get(RESOURCES, NAME) or {})["status"], "activity decided nothing"
    stub.delete("hpa", NAME)
    stub.delete(RESOURCES, NAME)
