"""Stoker's own programs killed at random moments: the rest goes on, and everything is as wanted afterwards."""

import random
import time
from collections.abc import Iterator

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.processes import signal_pod
from e2e.scenarios.resources import condition, model_deployment, offers, pods, ready, restarts, send
from e2e.scenarios.traffic import traffic
from tests.support.waiting import eventually

SEED = 20
KILLS = 3


@pytest.fixture(scope="module")
def steady(stub: Release) -> Iterator[str]:
    """A warm model under traffic."""
    stub.apply(model_deployment("target", warm=True))
    with httpx2.Client(base_url=stub.url, timeout=60) as client:
        eventually(lambda: offers(client).get("org/target"), seconds=60)
    yield "org/target"
    stub.delete(RESOURCES, "target")


def component(release: Release, name: str) -> str:
    """The ready pod of a program of the release."""
    found = release.list("pods", f"app.kubernetes.io/component={name}")
    return next((str(pod["metadata"]["name"]) for pod in found if ready(pod)), "")


def kill_once(release: Release, name: str, chance: random.Random) -> None:
    """Kill a program of the release somewhere in its work, and wait until the kubelet has started it again."""
    pod = eventually(lambda: component(release, name), seconds=90)
    before = restarts(release, pod)
    time.sleep(chance.uniform(0.0, 1.5))
    signal_pod(release, pod, "KILL")
    eventually(lambda: restarts(release, pod) > before, seconds=60)


def becomes_warm(release: Release, name: str) -> None:
    """Wait until a ModelDeployment is warm."""
    eventually(lambda: condition(release, name, "Warm")[0] == "True", seconds=120)


def test_a_killed_operator_fails_no_job_and_finishes_what_was_begun(stub: Release, steady: str) -> None:
    chance = random.Random(SEED)
    with traffic(stub, steady) as told:
        for number in range(KILLS):
            stub.apply(model_deployment(f"begun-{number}", warm=True))
            kill_once(stub, "operator", chance)
        for number in range(KILLS):
            becomes_warm(stub, f"begun-{number}")

    assert told.outcomes["200"] > 0
    assert told.failed == {}
    for number in range(KILLS):
        stub.delete(RESOURCES, f"begun-{number}", "--wait=false")


def test_a_killed_orchestrator_serves_again_with_all_it_had_to_offer(stub: Release, http: httpx2.Client, steady: str) -> None:
    chance = random.Random(SEED)
    for _ in range(KILLS):
        with traffic(stub, steady):
            kill_once(stub, "orchestrator", chance)

        eventually(lambda: answers(http, steady), seconds=60)
    assert offers(http)[steady] is True
    assert len(pods(stub, "target")) == 1


def answers(client: httpx2.Client, model_id: str) -> bool:
    """Whether a job is served."""
    try:
        return send(client, model_id).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False
