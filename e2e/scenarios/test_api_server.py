"""The API server is away for a while: jobs flow on from what is known, and all is right again when it is back."""

import os
import time
from collections.abc import Iterator

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.control_plane import api_server_away
from e2e.scenarios.processes import signal_pod
from e2e.scenarios.resources import all_ready, model_deployment, offers, pods
from e2e.scenarios.traffic import Background, traffic
from tests.support.waiting import eventually

AWAY_SECONDS = float(os.environ.get("STOKER_AWAY_SECONDS", "20"))


@pytest.fixture(scope="module", autouse=True)
def models(stub: Release) -> Iterator[None]:
    """A model with two workers, and one that can be started."""
    two = {"replicas": 2, "scaling": {"mode": "Manual", "maxReplicas": 2}}
    stub.apply(model_deployment("alone", script={"step_seconds": 0.1}, **two), model_deployment("asleep"))
    with httpx2.Client(base_url=stub.url) as client:
        eventually(lambda: all_ready(stub, "alone", 2) and offers(client).get("org/alone"), seconds=60)
        eventually(lambda: offers(client).get("org/asleep") is False)
    yield
    for name in ("alone", "asleep", "newborn"):
        stub.delete(RESOURCES, name, "--wait=false")


def test_jobs_flow_on_while_the_api_server_is_away(stub: Release, http: httpx2.Client) -> None:
    victim = pods(stub, "alone")[0]["metadata"]["name"]
    patient = httpx2.Client(base_url=stub.url, timeout=AWAY_SECONDS + 120)
    with traffic(stub, "org/alone") as told, patient:
        with api_server_away(stub.cluster):
            over = time.monotonic() + AWAY_SECONDS
            cold = Background(patient, "org/asleep")
            signal_pod(stub, victim, "KILL")
            eventually(lambda: time.monotonic() > over, AWAY_SECONDS + 5)
            told.goes_on()
            assert offers(http)["org/alone"] is True
        stub.apply(model_deployment("newborn", warm=True))
        eventually(lambda: offers(http).get("org/newborn"), seconds=120)
        served = told.workers[victim]
        eventually(lambda: told.workers[victim] > served)
        assert cold.answer().status_code == httpx2.codes.OK

    assert told.failed == {}
    assert offers(http)["org/alone"] is True
