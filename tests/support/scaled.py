"""Models that are scaled by activity, over a cluster in virtual time."""

from typing import Any

from stoker_orchestrator.domain.model import Bounds, Leaving, Model
from tests.support.fleet import model
from tests.support.virtual import VirtualCluster, cluster


def scaled(most: int = 3, least: int = 0, idle_after: float = 120, **others: Any) -> Model:
    bounds = Bounds(least, most, idle_after, target_queue_seconds=10, drain_timeout=others.pop("drain_timeout", 600))
    return model(scaling=bounds, **others)


def warmed(**others: Any) -> VirtualCluster:
    """Three workers that were needed a moment ago, and a rate that is known."""
    here = cluster(scaled(**others))
    here.send()
    here.until(lambda: here.served)
    for _ in range(40):
        here.send(seconds=4)
    here.until(lambda: len(here.ready()) == 3)
    here.until(lambda: len(here.served) == 41)
    return here


def effects(here: VirtualCluster, kind: type) -> list[Any]:
    return [each for _, each in here.effects if isinstance(each, kind)]


def leaving(here: VirtualCluster) -> list[Leaving]:
    return [each.leaving for each in here.board.registry.endpoints]
