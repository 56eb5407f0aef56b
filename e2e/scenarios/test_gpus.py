"""Whole cards by the device plugin's resource: a model waits for a card, runs on it, and gives it to the next one."""

from collections.abc import Iterator

import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import condition, model_deployment, pods
from tests.support.waiting import eventually

CARD = {"gpu": {"count": 1}}


@pytest.fixture
def models(stub: Release) -> Iterator[Release]:
    """Two warm models that need a card each, on a node that has none yet."""
    stub.apply(model_deployment("card-a", warm=True, **CARD), model_deployment("card-b", warm=True, **CARD))
    yield stub
    stub.cluster.give_gpus(0)
    stub.delete(RESOURCES, "card-a")
    stub.delete(RESOURCES, "card-b")


def served(release: Release) -> list[str]:
    """The models that are served now."""
    return [name for name in ("card-a", "card-b") if condition(release, name, "Ready")[:2] == ("True", "Serving")]


def test_a_model_waits_for_a_card_and_the_next_one_gets_it_when_it_is_free(models: Release) -> None:
    eventually(lambda: {condition(models, name, "Ready")[1] for name in ("card-a", "card-b")} == {"Unschedulable"}, seconds=60)

    models.cluster.give_gpus(1)

    (first,) = eventually(lambda: served(models), seconds=60)
    (second,) = {"card-a", "card-b"} - {first}
    assert condition(models, second, "Ready")[1] == "Unschedulable"
    limits = pods(models, first)[0]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"

    models.delete(RESOURCES, first)
    eventually(lambda: second in served(models), seconds=90)
