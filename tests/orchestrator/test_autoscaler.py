"""How many workers activity wants, with time and demand as numbers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stoker_contracts.resources.scaling import ScalingReason
from stoker_orchestrator.domain.autoscaler import Autoscaler, Demand, Wish, effective
from stoker_orchestrator.domain.model import Bounds, Endpoint, EndpointState, Leaving, Model
from stoker_orchestrator.domain.retirement import Retirement
from tests.support.fleet import model

IDLE, RESIDENCY = 100.0, 60.0


def scaled(replicas: int = 0, least: int = 0, most: int = 5, capacity: int = 1, **others: Any) -> Model:
    bounds = Bounds(least, most, IDLE, target_queue_seconds=10)
    return model(replicas=replicas, scaling=bounds, capacity=capacity, **others)


def worker(number: int = 0, in_flight: int = 0, state: EndpointState = EndpointState.READY, **others: Any) -> Endpoint:
    return Endpoint(f"w{number}", "m", "a", state=state, in_flight=in_flight, **others)


def wanted(asked: Model, demand: Demand, now: float = 1000.0, *, began: float = 0.0) -> int:
    """What a model that was idle until `now` gets."""
    autoscaler = Autoscaler(began, RESIDENCY)
    autoscaler.note(asked, Demand(), began)
    autoscaler.note(asked, demand, now)
    wish = autoscaler.want(asked, demand, now)
    return effective(asked) if wish is None else wish.replicas


def test_the_first_job_wants_a_worker_in_the_same_look() -> None:
    assert wanted(scaled(), Demand(waiting=1)) == 1


def test_the_line_in_seconds_over_the_target_is_the_number_of_workers() -> None:
    assert wanted(scaled(1), Demand(9, 30.0)) == 3
    assert wanted(scaled(1), Demand(9, 30.1)) == 4
    assert wanted(scaled(1, capacity=2), Demand(9, 60.0)) == 3
    assert wanted(scaled(1, most=2), Demand(9, 30.0)) == 2


def test_there_are_never_more_workers_than_jobs_for_them() -> None:
    assert wanted(scaled(1), Demand(1, 300.0, [worker(in_flight=1)])) == 2
    assert wanted(scaled(1, capacity=4), Demand(3, 300.0, [worker(in_flight=4)])) == 2


def test_what_was_asked_for_already_counts() -> None:
    assert wanted(scaled(3), Demand(9, 30.0)) == 3


def test_where_a_worker_finds_no_device_no_further_one_is_asked_for() -> None:
    starved = worker(1, state=EndpointState.STARTING, no_room="0/1 nodes are available")

    assert wanted(scaled(2), Demand(9, 90.0, [worker(), starved])) == 2


def test_a_worker_that_became_ready_a_moment_ago_keeps_all() -> None:
    assert wanted(scaled(2), Demand(0, 0.0, [worker(), worker(1, since=950.0)])) == 2
    assert wanted(scaled(2), Demand(0, 0.0, [worker(), worker(1, since=940.0)])) == 0


def test_after_a_step_up_there_is_none_down_for_the_residency() -> None:
    asked, autoscaler = scaled(2), Autoscaler(0.0, RESIDENCY)
    autoscaler.note(asked, Demand(), 0.0)
    autoscaler.raised("m", 950.0)

    assert autoscaler.want(asked, Demand(), 1009.0) is None
    assert autoscaler.want(asked, Demand(), 1010.0) == Wish(0, ScalingReason.IDLE, "no job in the last 100 s")


def test_while_jobs_wait_nobody_goes() -> None:
    assert wanted(scaled(3), Demand(1, 1.0)) == 3


def test_while_a_wake_is_without_effect_nobody_goes() -> None:
    asked, autoscaler = scaled(2), Autoscaler(0.0, RESIDENCY)
    autoscaler.note(asked, Demand(), 0.0)
    autoscaler.woken("m", 999.0)

    assert autoscaler.want(asked, Demand(), 1000.0) is None


def test_a_job_between_two_looks_is_remembered() -> None:
    asked, autoscaler = scaled(2), Autoscaler(0.0, RESIDENCY)
    one = worker(idle_since=0.0)
    autoscaler.note(asked, Demand(0, 0.0, [one]), 0.0)
    autoscaler.note(asked, Demand(0, 0.0, [one]), 950.0)
    one.idle_since = 950.3
    autoscaler.note(asked, Demand(0, 0.0, [one]), 951.0)

    assert autoscaler.want(asked, Demand(0, 0.0, [one]), 1000.0) == Wish(
        1, ScalingReason.IDLE, "at most 1 job at a time in the last 100 s"
    )


DEMANDS = st.builds(
    lambda waiting, seconds, jobs: Demand(waiting, seconds, [worker(number, each) for number, each in enumerate(jobs)]),
    st.integers(0, 30),
    st.none() | st.floats(0, 1000),
    st.lists(st.integers(0, 3), max_size=6),
)
MODELS = st.builds(
    lambda bounds, replicas, capacity: scaled(replicas, min(bounds), max(bounds), capacity),
    st.tuples(st.integers(0, 8), st.integers(0, 8)),
    st.integers(0, 10),
    st.integers(1, 4),
)


@given(asked=MODELS, demand=DEMANDS)
def test_what_is_wanted_is_within_bounds_and_enough_for_what_runs(asked: Model, demand: Demand) -> None:
    count = wanted(asked, demand)
    assert asked.scaling is not None
    assert asked.scaling.least <= count <= asked.scaling.most
    assert count * asked.capacity >= min(demand.in_flight, effective(asked) * asked.capacity)


@given(asked=MODELS, demand=DEMANDS, more=st.integers(0, 10), longer=st.floats(0, 100))
def test_more_load_never_wants_fewer_workers(asked: Model, demand: Demand, more: int, longer: float) -> None:
    seconds = None if demand.seconds is None else demand.seconds + longer
    larger = Demand(demand.waiting + more, seconds, demand.endpoints)

    assert wanted(asked, larger) >= wanted(asked, demand)


@given(asked=MODELS, demand=DEMANDS, age=st.floats(0, IDLE - 0.1))
def test_who_began_a_moment_ago_takes_nobody_away(asked: Model, demand: Demand, age: float) -> None:
    assert wanted(asked, demand, age) >= effective(asked)


def test_idle_workers_are_chosen_before_busy_ones_even_those_chosen_before() -> None:
    retirement = Retirement()
    busy, idle = worker(0, in_flight=1, work=1.0), worker(1)
    assert retirement.choose([busy, idle], 2) == [idle]

    retirement.retire([busy], "Idle", now=0.0)
    assert retirement.choose([busy, idle], 1) == [idle]
    assert retirement.choose([busy], 1) == [busy]


def test_of_busy_workers_the_one_with_the_least_work_is_chosen() -> None:
    more, less = worker(0, in_flight=1, work=9.0), worker(1, in_flight=1, work=1.0)

    assert Retirement().choose([more, less], 1) == [less]


def test_workers_that_take_no_jobs_go_first_and_nobody_while_one_of_them_has_a_job() -> None:
    ready, starting = worker(0), worker(1, state=EndpointState.STARTING)
    assert Retirement().choose([ready, starting], 1) == [starting]

    starting.in_flight = 1
    assert Retirement().choose([ready, starting], 1) == []


def test_the_second_phase_is_never_in_the_same_look_as_the_first() -> None:
    retirement, one = Retirement(), worker()
    retirement.retire([one], "Idle", now=5.0)
    (rank,) = retirement.rank([one], now=5.0)
    retirement.ranked(rank)

    assert not retirement.over([one], 600.0, now=5.0)
    assert retirement.over([one], 600.0, now=5.5)
    assert one.leaving is Leaving.RETIRING
