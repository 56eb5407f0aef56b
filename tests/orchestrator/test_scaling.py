"""Workers that come and go by activity, in virtual time over a cluster that behaves like one."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_contracts.resources.scaling import ScalingReason
from stoker_orchestrator.domain.autoscaler import RESIDENCY_SECONDS
from stoker_orchestrator.domain.events import ModelGone, Sight
from stoker_orchestrator.domain.model import Leaving, Obstacle
from stoker_orchestrator.domain.retirement import Rank
from stoker_orchestrator.domain.scaling import Scale
from tests.support.fleet import model
from tests.support.scaled import effects, leaving, scaled, warmed
from tests.support.virtual import cluster


def test_a_job_for_a_cold_model_asks_for_one_worker_at_once_and_once() -> None:
    here = cluster(scaled())
    here.send()
    here.look()
    here.look()

    assert here.scaled == [("m", 0, 1)]
    assert here.decided[0].reason is ScalingReason.WAKE
    here.until(lambda: here.served)
    assert here.scaled == [("m", 0, 1)]


def test_the_wake_outlives_the_caller() -> None:
    here = cluster(scaled())
    ticket = here.send()
    here.board.leave("m", ticket)
    here.look()

    assert here.scaled == [("m", 0, 1)]


def test_a_wake_that_the_fleet_could_not_carry_out_is_asked_again_after_two_seconds() -> None:
    here = cluster(scaled())
    here.refuse = lambda _: True
    here.board.leave("m", here.send())
    here.run(1.5)
    assert len(here.scaled) == 1

    here.run(1.5)
    assert len(here.scaled) == 2
    assert here.decided == []

    here.refuse = lambda _: False
    here.until(here.ready)


def test_a_wake_that_was_carried_out_though_it_seemed_to_fail_keeps_its_worker_as_any_other_does() -> None:
    here = cluster(scaled(idle_after=5))

    def carried_out_untold(effect: Scale | Rank) -> bool:
        if isinstance(effect, Scale):
            here.change("m", replicas=effect.replicas)
        return isinstance(effect, Scale)

    here.refuse = lambda _: True
    here.board.leave("m", here.send())
    here.run(10)
    here.refuse = carried_out_untold
    here.until(here.ready)
    here.run(RESIDENCY_SECONDS - 15)

    assert (here.scaled[-1], here.models["m"].replicas) == (("m", 0, 1), 1)


def test_a_wake_that_nobody_waits_for_is_given_up_after_the_time_of_a_start() -> None:
    here = cluster(scaled(start_timeout=10))
    here.refuse = lambda _: True
    here.board.leave("m", here.send())
    here.run(20)
    asked = len(here.scaled)
    here.run(20)

    assert len(here.scaled) == asked


def test_a_long_line_brings_workers_by_its_seconds_and_never_more_than_most() -> None:
    here = cluster(scaled(most=3))
    here.send()
    here.until(lambda: here.served)

    for _ in range(6):
        here.send(seconds=4)
    here.look()
    assert here.scaled[-1] == ("m", 1, 2), "20 s in line for a target of 10 s"

    for _ in range(40):
        here.send(seconds=4)
    here.look()
    here.run(1)
    assert here.scaled[-1] == ("m", 2, 3)
    assert here.decided[-1].reason is ScalingReason.QUEUE
    assert "the target is 10 s" in here.decided[-1].message


def test_before_any_job_was_seen_a_long_line_brings_no_more_than_one_worker() -> None:
    here = cluster(scaled())
    for _ in range(50):
        here.send(seconds=100)
    here.until(here.ready)
    here.run(20)

    assert here.replicas() == 1


def test_nothing_is_scaled_while_the_workers_cannot_be_seen() -> None:
    here = warmed()
    here.board.apply(Sight(clear=False), here.now)
    here.run(400)
    assert here.replicas() == 3

    here.board.apply(Sight(clear=True), here.now)
    here.until(lambda: here.replicas() == 0)


def test_an_orchestrator_that_just_began_takes_nobody_away() -> None:
    here = cluster(scaled(replicas=3))
    here.run(119)
    assert here.scaled == []

    here.until(lambda: here.replicas() == 0)


def test_only_who_leads_writes_and_a_new_leader_begins_without_a_past() -> None:
    here = warmed()
    here.leading = False
    written = len(here.scaled)
    here.run(300)
    assert len(here.scaled) == written

    here.leading = True
    here.run(119)
    assert here.replicas() == 3
    here.until(lambda: here.replicas() == 0)


def test_who_stops_leading_lets_those_stay_who_were_to_go() -> None:
    here = warmed()
    here.until(lambda: Leaving.RETIRING in leaving(here))
    here.leading = False
    here.look()

    assert leaving(here) == [Leaving.STAYS] * 3


def test_activity_stands_aside_where_somebody_else_scales() -> None:
    here = cluster(model(scaling=None, replicas=2))
    here.run(10)
    for _ in range(100):
        here.send(seconds=10)
    here.run(1000)

    assert here.scaled == []
    assert effects(here, Rank) == []


def test_what_is_asked_for_above_the_most_is_taken_back() -> None:
    here = cluster(scaled(most=2, replicas=5))
    here.run(1)

    assert here.scaled == [("m", 5, 2)]
    assert here.decided[0].reason is ScalingReason.BOUNDS


def test_a_model_with_an_obstacle_that_waiting_does_not_cure_is_not_scaled_up() -> None:
    here = cluster(scaled())
    here.scaling.woken("m", here.now)
    here.change("m", obstacle=Obstacle("ImageNotPullable", "no such image"))
    here.look()

    assert here.scaled == []


def test_somebody_elses_change_between_look_and_write_is_not_overwritten() -> None:
    here = warmed()
    here.until(lambda: Leaving.RETIRING in leaving(here))
    here.models["m"] = scaled(replicas=2)  # told later
    here.until(lambda: Leaving.CONDEMNED in leaving(here))
    assert here.models["m"].replicas == 2
    here.change("m")
    here.run(5)

    assert here.killed_busy == []
    assert Leaving.CONDEMNED not in leaving(here)


@settings(max_examples=25, deadline=None)
@given(
    period=st.sampled_from([0.5, 1.0, 3.0, 20.0]),
    seconds=st.sampled_from([0.4, 1.0, 5.0, 30.0]),
    capacity=st.integers(1, 3),
    load=st.sampled_from([1.0, 20.0]),
)
def test_the_same_load_never_changes_direction_twice_within_a_window(
    period: float, seconds: float, capacity: int, load: float
) -> None:
    here = cluster(scaled(most=4, idle_after=100, capacity=capacity), load=load)
    for _ in range(int(800 / period)):
        here.send(seconds=seconds)
        here.run(period)
    changes = [(at, each.replicas - each.expected) for at, each in here.effects if isinstance(each, Scale)]
    turns = [at for (at, by), (_, before) in zip(changes[1:], changes, strict=False) if by * before < 0]

    assert all(later - at >= 100 for at, later in itertools.pairwise(turns))
    assert here.killed_busy == []


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0.5, 5.0, 40.0, 130.0])), min_size=1, max_size=12),
    least=st.integers(0, 2),
    broken=st.booleans(),
)
def test_whatever_comes_the_scale_stays_within_bounds_and_no_job_is_lost(
    steps: list[tuple[int, float]], least: int, *, broken: bool
) -> None:
    here = cluster(scaled(most=3, least=least, idle_after=70, start_timeout=10_000))
    here.refuse = (lambda _: int(here.now) % 7 < 3) if broken else here.refuse
    sent = []
    for count, pause in steps:
        sent += [here.send(seconds=2 + count) for _ in range(count)]
        here.run(pause)
    here.refuse = lambda _: False
    here.until(lambda: len(here.served) == len(sent), seconds=3000)

    assert all(least <= replicas <= 3 or not replicas for _, _, replicas in here.scaled)
    assert here.killed_busy == []
    assert here.refused == {}
    here.run(70 + RESIDENCY_SECONDS + 10)
    assert here.replicas() == least


def test_a_model_that_comes_with_workers_keeps_them_as_long_as_its_window() -> None:
    here = cluster(scaled())
    here.run(200)
    here.board.apply(ModelGone("m"), here.now)
    here.run(1)
    here.change("m", replicas=1)
    here.run(118)
    assert here.scaled == []

    here.run(5)
    assert here.scaled == [("m", 1, 0)]
