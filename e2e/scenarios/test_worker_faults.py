"""Workers that die, hang, crawl or cannot be reached, under constant traffic: no caller gets anything but a picture."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.network import half_open
from e2e.scenarios.processes import resumed, signal_pod, slow_down
from e2e.scenarios.resources import all_ready, model_deployment, offers, restarts
from e2e.scenarios.traffic import Traffic, busy_pod, traffic
from tests.support.waiting import eventually

NAMES = ("killed", "stuck", "slow", "cut", "lost")
CALLERS = 3
SLOW_SECONDS = 8
PAIR: dict[str, Any] = {"replicas": 2, "scaling": {"mode": "Manual", "maxReplicas": 2}, "script": {"step_seconds": 0.1}}
"""Two workers, and jobs of 0.2 s."""


@pytest.fixture(scope="module", autouse=True)
def pairs(stub: Release) -> Iterator[None]:
    """Two workers of each model, all of them ready."""
    stub.apply(*[model_deployment(name, **PAIR) for name in NAMES])
    with httpx2.Client(base_url=stub.url) as client:
        eventually(lambda: all(all_ready(stub, name, 2) and offers(client).get(f"org/{name}") for name in NAMES), seconds=120)
    yield
    for name in NAMES:
        stub.delete(RESOURCES, name, "--wait=false")


@pytest.fixture(scope="module", autouse=True)
def lost(stub: Release, pairs: None) -> Iterator[tuple[Traffic, str]]:  # noqa: ARG001 - the workers are there
    """Traffic of a model one of whose workers hangs for ever: from the first scenario on, as the kubelet takes its time."""
    with traffic(stub, "org/lost", callers=2) as told:
        victim = eventually(lambda: busy_pod(stub, "lost"))
        with resumed(stub, victim):
            signal_pod(stub, victim, "STOP")
            yield told, victim


def serves_again(told: Traffic, worker: str) -> None:
    """Wait until a worker has served one more job."""
    before = told.workers[worker]
    eventually(lambda: told.workers[worker] > before, seconds=60)


def test_a_killed_worker_fails_no_job_and_serves_again(stub: Release) -> None:
    with traffic(stub, "org/killed", CALLERS) as told:
        victim = eventually(lambda: busy_pod(stub, "killed"))

        signal_pod(stub, victim, "KILL")

        told.goes_on()
        serves_again(told, victim)
    assert told.failed == {}


def test_a_worker_that_stands_still_for_a_while_fails_no_job_and_serves_again(stub: Release) -> None:
    with traffic(stub, "org/stuck", CALLERS) as told:
        victim = eventually(lambda: busy_pod(stub, "stuck"))

        with resumed(stub, victim):
            signal_pod(stub, victim, "STOP")
            told.goes_on()

        serves_again(told, victim)
    assert told.failed == {}


def test_a_worker_that_is_ten_times_slower_fails_no_job_and_gets_fewer(stub: Release) -> None:
    with traffic(stub, "org/slow", callers=1) as told:
        victim = eventually(lambda: busy_pod(stub, "slow"))
        before = told.workers.copy()

        slow_down(stub, victim, SLOW_SECONDS)

        meanwhile = told.workers - before
    assert told.failed == {}
    assert meanwhile.total() > 2 * meanwhile[victim]


def test_a_worker_behind_a_half_open_connection_fails_no_job_and_serves_again(stub: Release) -> None:
    with traffic(stub, "org/cut", CALLERS) as told:
        victim = eventually(lambda: busy_pod(stub, "cut"))

        with half_open(stub, victim):
            told.goes_on()

        serves_again(told, victim)
    assert told.failed == {}


def test_a_worker_that_hangs_for_ever_is_started_again(stub: Release, lost: tuple[Traffic, str]) -> None:
    told, victim = lost

    eventually(lambda: restarts(stub, victim) > 0, seconds=90)

    serves_again(told, victim)
    assert told.failed == {}
