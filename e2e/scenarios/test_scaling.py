"""Activity decides how many workers run and who has the card; nobody's job is lost to that."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.conftest import RESIDENCY_SECONDS
from e2e.scenarios.resources import all_ready, model_deployment, offers, pods, send
from e2e.scenarios.traffic import traffic
from stoker_contracts.resources.scaling import ScalingReason
from tests.support.waiting import eventually

MOST = 3
CALLERS = 8
"""They have work in line for several workers."""


def decisions(release: Release, name: str) -> list[dict[str, Any]]:
    """The last decisions about a model, the oldest first."""
    resource = release.get(RESOURCES, name) or {}
    return list(resource.get("status", {}).get("scaling", {}).get("decisions", []))


@pytest.fixture
def breathing(stub: Release, http: httpx2.Client) -> Iterator[str]:
    """A cold model that may have three workers, and keeps an idle one for a moment."""
    scaling = {"maxReplicas": MOST, "idleAfter": "5s", "targetQueueSeconds": 1}
    stub.apply(model_deployment("breathing", scaling=scaling, script={"step_seconds": 0.25}))
    eventually(lambda: offers(http).get("org/breathing") is False)
    yield "breathing"
    stub.delete(RESOURCES, "breathing", "--wait=false")


def test_activity_scales_from_zero_to_three_and_back_without_losing_a_job(
    stub: Release, http: httpx2.Client, breathing: str
) -> None:
    with traffic(stub, "org/breathing", CALLERS) as many:
        eventually(lambda: all_ready(stub, breathing, MOST), seconds=90)
        many.goes_on()
    with traffic(stub, "org/breathing", callers=1) as few:
        eventually(lambda: all_ready(stub, breathing, 1), seconds=90)
        few.goes_on()
    eventually(lambda: not pods(stub, breathing), seconds=90)

    made = eventually(lambda: [each for each in decisions(stub, breathing) if decisions(stub, breathing)[-1]["after"] == 0])
    assert many.failed == {}
    assert few.failed == {}
    assert {each["reason"] for each in made} >= {ScalingReason.QUEUE, ScalingReason.IDLE}
    assert send(http, "org/breathing").status_code == httpx2.codes.OK


@pytest.fixture
def turns(stub: Release, http: httpx2.Client) -> Iterator[tuple[str, str]]:
    """Two cold models that need a card each, on a node with one."""
    stub.cluster.give_gpus(1)
    names = ("turn-a", "turn-b")
    stub.apply(*[model_deployment(name, gpu={"count": 1}) for name in names])
    eventually(lambda: all(offers(http).get(f"org/{name}") is False for name in names))
    yield names
    for name in names:
        stub.delete(RESOURCES, name)
    stub.cluster.give_gpus(0)


def test_models_take_turns_on_one_card_and_each_job_is_served(stub: Release, http: httpx2.Client, turns: tuple[str, str]) -> None:
    first, second = turns
    workers = []
    began = time.monotonic()
    for name in (first, second, first, second):
        for _ in range(3):
            answer = send(http, f"org/{name}")
            assert answer.status_code == httpx2.codes.OK, answer.text
            workers.append(answer.headers["Stoker-Worker"])

    swaps = len(set(workers)) - 1
    assert swaps == 3
    assert time.monotonic() - began > swaps * RESIDENCY_SECONDS
    reasons = {each["reason"] for name in turns for each in decisions(stub, name)}
    assert reasons >= {ScalingReason.WAKE, ScalingReason.MAKE_ROOM, ScalingReason.WAITS_FOR_ROOM}
