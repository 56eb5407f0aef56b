"""A changed worker takes the place of the old one under constant traffic, with a spare card and without."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import all_ready, condition, model_deployment, offers, pods, ready
from e2e.scenarios.traffic import Background, busy_pod, traffic
from tests.support.waiting import eventually


@pytest.fixture
def release(stub: Release) -> Iterator[Release]:
    """A release on a node with one card."""
    stub.cluster.give_gpus(1)
    yield stub
    stub.delete(RESOURCES, "rolled")
    stub.cluster.give_gpus(0)


def rolled(surge: int, step_seconds: float) -> dict[str, Any]:
    """A warm model that needs a card; other steps make another worker of it."""
    rollout = {"maxSurge": surge}
    return model_deployment("rolled", warm=True, gpu={"count": 1}, rollout=rollout, script={"step_seconds": step_seconds})


def start(release: Release, client: httpx2.Client, surge: int) -> str:
    """Apply the model and wait until it is warm; returns its worker."""
    release.apply(rolled(surge, 0.1))
    eventually(lambda: all_ready(release, "rolled", 1) and offers(client).get("org/rolled"), seconds=60)
    return str(pods(release, "rolled")[0]["metadata"]["name"])


def replaced(release: Release, worker: str) -> bool:
    """Whether another worker than this one is the only one, and ready."""
    found = pods(release, "rolled")
    return len(found) == 1 and ready(found[0]) and found[0]["metadata"]["name"] != worker


def test_without_a_spare_card_the_old_worker_finishes_and_jobs_wait_for_the_new_one(release: Release, http: httpx2.Client) -> None:
    old = start(release, http, surge=0)
    with traffic(release, "org/rolled") as told:
        long = Background(http, "org/rolled", num_inference_steps=30)
        eventually(lambda: busy_pod(release, "rolled"))

        release.apply(rolled(0, 0.05))

        eventually(lambda: replaced(release, old), seconds=90)
        told.goes_on()
    assert told.failed == {}
    finished = long.answer()
    assert finished.status_code == httpx2.codes.OK
    assert finished.headers["Stoker-Worker"].startswith(f"{old}.")
    assert set(told.workers) - {old}


def test_with_a_spare_card_the_model_is_warm_all_along(release: Release, http: httpx2.Client) -> None:
    old = start(release, http, surge=1)
    warm: list[bool] = []

    def seen_until_replaced() -> bool:
        warm.append(offers(http).get("org/rolled", False))
        return replaced(release, old)

    with traffic(release, "org/rolled") as told:
        release.apply(rolled(1, 0.05))
        eventually(lambda: len(pods(release, "rolled")) == 2, seconds=60)
        told.goes_on()
        assert condition(release, "rolled", "Ready")[:2] == ("True", "Serving")
        release.cluster.give_gpus(2)
        eventually(seen_until_replaced, seconds=90)
        told.goes_on()
    assert told.failed == {}
    assert all(warm)
    assert len(told.workers) == 2
