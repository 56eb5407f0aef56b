"""The simulator finds what it is for: each of these breaks the domain in one place, and some small world must notice."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from simulation.batch import run_small
from stoker_orchestrator.domain import admission, switchboard
from stoker_orchestrator.domain.autoscaler import Autoscaler, Demand
from stoker_orchestrator.domain.hold import Line
from stoker_orchestrator.domain.model import Endpoint
from stoker_orchestrator.domain.order import FairOrder
from stoker_orchestrator.domain.outliers import Outliers
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.retirement import Retirement
from stoker_orchestrator.domain.switchboard import Granted, Switchboard

SEEDS = range(60)


def first_violation() -> str:
    """Of the first small world in which an invariant breaks; empty where none does."""
    return next((report.violation for report in map(run_small, SEEDS) if report.violation), "")


def least_loaded(endpoints: Iterable[Endpoint], _cost: float, excluded: Any = ()) -> Endpoint | None:
    """A router that looks at no capacity."""
    serving = [each for each in endpoints if each.serving and (each.recovered or each.id not in excluded)]
    return min(serving, key=lambda each: each.in_flight, default=None)


def forgetful(endpoints: Iterable[Endpoint], _cost: float, _excluded: Any = ()) -> Endpoint | None:
    """A router that lets a job meet again what it was lost on."""
    return next((each for each in endpoints if each.free), None)


def careless(endpoints: Iterable[Endpoint], _cost: float, excluded: Any = ()) -> Endpoint | None:
    """A router that does not ask whether a worker serves."""
    return next((each for each in endpoints if each.in_flight < each.capacity and each.id not in excluded), None)


@pytest.mark.parametrize(
    ("router", "found"), [(least_loaded, "of ours"), (forgetful, "was lost on"), (careless, "not able to serve")]
)
def test_a_router_that_breaks_a_rule_is_found(router: Callable[..., Any], found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "choose", router)
    monkeypatch.setattr(switchboard, "choose", router)

    assert found in first_violation()


def nothing(*_: Any, **__: Any) -> list[Any]:
    return []


@pytest.mark.parametrize(
    ("owner", "method", "found"),
    [
        (Line, "expired", "beyond its patience"),
        (Line, "turn", "beyond its patience"),
        (Outliers, "due", "still ejects|without an end"),
        (Outliers, "gone", "records of endpoints|watched endpoints"),
        (Registry, "_forget", "endpoints are kept"),
        (Registry, "give_back", "busy endpoints are kept"),
        (Switchboard, "_serve", "which is free"),
        (Switchboard, "leave", "KeyError"),
    ],
)
def test_a_step_that_is_left_out_is_found(owner: type, method: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, method, nothing)

    assert re.search(found, first_violation())


def test_a_worker_that_is_ended_before_it_has_paid_for_its_start_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Autoscaler, "_is_fresh", lambda *_: False)

    assert "after it became ready" in first_violation()


def test_an_autoscaler_that_counts_no_jobs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retirement, "choose", lambda _, standing, excess, only=None: list(standing)[:excess])
    monkeypatch.setattr(Retirement, "over", lambda *_: True)
    monkeypatch.setattr(Demand, "since", lambda *_: 0)
    monkeypatch.setattr(Autoscaler, "_is_fresh", lambda *_: False)

    assert any("that have jobs" in report.violation for report in map(run_small, SEEDS))


def test_a_line_that_serves_the_latest_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairOrder, "first", lambda order: max(order._owners, default=None))

    assert "is served before" in first_violation()


def test_a_new_leader_that_does_not_count_what_is_in_flight_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Switchboard, "adopt", lambda board, endpoint, cost, _: Granted(-1, replace(endpoint, in_flight=1), cost))

    assert "of ours" in first_violation()
