"""Serve, hold or refuse, and the time that a refusal names, with time as a number."""

import pytest

from stoker_orchestrator.domain.admission import Hold, Limits, Refusal, admit
from stoker_orchestrator.domain.events import ModelSeen
from stoker_orchestrator.domain.hold import Ask, Line
from stoker_orchestrator.domain.model import Bounds, Endpoint, Model, Obstacle
from stoker_orchestrator.domain.registry import Registry
from tests.support.fleet import endpoint, model

NO_ROOM = Obstacle("Unschedulable", "no GPU is free", of_room=True)


def known(*identities: str, of: Model | None = None, seconds_per_unit: float = 1.0) -> Registry:
    """A registry whose jobs take so many seconds for each unit of cost, all workers busy with one unit."""
    made = Registry()
    made.apply(ModelSeen(of or model()), now=0)
    for identity in identities:
        made.apply(endpoint(identity), now=0)
    for each in made.endpoints:
        made.observe(each, cost=1, seconds=seconds_per_unit)
        made.take(each, 1)
    return made


def line(*costs: float, warm: bool = True) -> Line:
    made = Line(0, warm=warm)
    for ticket, cost in enumerate(costs):
        made.join(ticket, Ask(cost), now=0, start_timeout=60)
    return made


def refused(found: Endpoint | Hold | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


def test_a_full_line_says_when_half_of_it_will_be_served() -> None:
    found = refused(admit(known("a"), model(), line(*[4.0] * 10), Ask(1), Limits(jobs=10)))

    assert (found.status, found.code) == (429, "line_full")
    assert found.retry_after == 21, "40 s in line and half a second on the worker, halved and rounded up"
    assert "21 s" in found.message


def test_a_line_is_bounded_by_the_seconds_of_work_for_each_slot_that_a_model_may_get() -> None:
    wide = model(scaling=Bounds(most=4), capacity=2)

    assert isinstance(admit(known("a", of=wide), wide, line(79.0), Ask(1), Limits(seconds=10)), Hold)
    assert refused(admit(known("a", of=wide), wide, line(80.0), Ask(1), Limits(seconds=10))).code == "line_work"


def test_one_job_may_always_wait_however_long_it_is() -> None:
    assert isinstance(admit(known("a"), model(), line(), Ask(10_000), Limits(seconds=1)), Hold)


@pytest.mark.parametrize(("patience", "code"), [(20.0, None), (12.0, "deadline")])
def test_a_job_is_taken_only_where_it_would_be_answered_in_time_its_own_duration_included(
    patience: float, code: str | None
) -> None:
    found = admit(known("a"), model(), line(9.0), Ask(1, patience=patience), Limits())

    assert (found.code if isinstance(found, Refusal) else None) == code


def test_a_cold_start_refuses_nobody_for_want_of_time() -> None:
    assert isinstance(admit(known(), model(), line(5.0, warm=False), Ask(1, patience=0.1), Limits()), Hold)


def test_before_a_job_was_seen_no_wait_is_made_up() -> None:
    registry = Registry()
    registry.apply(ModelSeen(model()), now=0)
    registry.apply(endpoint("a"), now=0)
    registry.take(registry.endpoints[0], 1)

    assert isinstance(admit(registry, model(), line(50.0), Ask(1, patience=1), Limits()), Hold)


def test_a_job_that_lost_its_worker_is_not_refused_for_a_full_line_and_does_not_stand_behind_it() -> None:
    registry = known("a")
    again = Ask(1, excluded=("lost",))
    assert isinstance(admit(registry, model(), line(1.0), again, Limits(jobs=1)), Hold)

    registry.give_back(registry.endpoints[0], 1, now=1)
    assert admit(registry, model(), line(1.0), again, Limits(jobs=1)) is registry.endpoints[0]


def test_a_model_without_room_is_held_while_another_may_make_some_and_refused_where_none_can() -> None:
    full = model(obstacle=NO_ROOM)
    registry = known(of=full)
    assert isinstance(admit(registry, full, None, Ask(1), Limits()), Hold)

    registry.roomless = {full.name}
    found = refused(admit(registry, full, None, Ask(1), Limits()))
    assert (found.status, found.code) == (503, "Unschedulable")
    assert "no GPU is free" in found.message


def test_only_who_has_no_worker_on_its_way_wakes_one() -> None:
    assert admit(known(), model(), None, Ask(1), Limits()) == Hold(wake=True)
    assert admit(known("a"), model(), None, Ask(1), Limits()) == Hold(wake=False)
