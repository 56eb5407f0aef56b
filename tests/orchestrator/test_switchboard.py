"""Admission, lines and routing, with time as a number."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_orchestrator.domain.events import EndpointGone, ModelGone, ModelSeen
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Obstacle
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Effect, Granted, Refused, Switchboard, Wake
from tests.support.fleet import endpoint, model
from tests.support.switchboards import M, granted, refused, switchboard


def test_a_free_worker_takes_a_job_at_once() -> None:
    assert granted(switchboard("a").arrive(1, M, Ask(1), now=0)) == [(1, "a")]


def test_the_worker_with_the_least_declared_work_takes_the_job() -> None:
    board = switchboard("a", "b", capacity=2)
    board.arrive(1, M, Ask(100), now=0)
    board.arrive(2, M, Ask(1), now=0)

    assert granted(board.arrive(3, M, Ask(1), now=0)) == [(3, "b")]


def test_a_busy_fleet_lets_jobs_wait_and_serves_them_in_order() -> None:
    board = switchboard("a")
    (first,) = [each for each in board.arrive(1, M, Ask(1), now=0) if isinstance(each, Granted)]
    assert board.arrive(2, M, Ask(1), now=0) == []
    assert board.arrive(3, M, Ask(1), now=0) == []

    assert granted(board.release(first, now=0)) == [(2, "a")]
    assert board.waiting("m") == 1


def test_one_ready_worker_releases_one_job_and_not_the_herd() -> None:
    board = switchboard()
    for ticket in range(3):
        board.arrive(ticket, M, Ask(1), now=0)

    assert granted(board.apply(endpoint("a"), now=0)) == [(0, "a")]


def test_a_full_line_is_a_429_with_a_time_to_come_back() -> None:
    board = switchboard("a", line_limit=1)
    board.arrive(1, M, Ask(1), now=0)
    board.arrive(2, M, Ask(1), now=0)

    (effect,) = board.arrive(3, M, Ask(1), now=0)
    assert isinstance(effect, Refused)
    assert (effect.refusal.status, effect.refusal.code) == (429, "line_full")
    assert effect.refusal.retry_after is not None


def test_a_cold_model_is_woken_by_its_first_job() -> None:
    board = switchboard()

    assert board.arrive(1, M, Ask(1), now=0) == [Wake("m")]


def test_a_worker_that_starts_already_is_not_asked_for_again() -> None:
    board = switchboard()
    board.apply(endpoint("a", state=EndpointState.STARTING), now=0)

    assert board.arrive(1, M, Ask(1), now=0) == []
    assert not any(isinstance(each, Wake) for each in board.expire(now=1))


def test_a_worker_on_its_way_out_does_not_keep_a_new_one_from_being_asked_for() -> None:
    board = switchboard()
    board.apply(endpoint("leaving", state=EndpointState.DRAINING), now=0)

    assert board.arrive(1, M, Ask(1), now=0) == [Wake("m")]
    assert board.expire(now=1) == [Wake("m")]


def test_a_wake_that_brought_nothing_is_repeated_while_jobs_wait() -> None:
    board = switchboard()
    board.arrive(1, M, Ask(1), now=0)

    assert board.expire(now=1) == [Wake("m")]


def test_a_job_that_waited_its_time_is_a_503() -> None:
    board = switchboard()
    board.arrive(1, M, Ask(1), now=0)

    assert refused(board.expire(now=59.9)) == []
    assert refused(board.expire(now=60)) == [(1, 503)]
    assert board.waiting("m") == 0


def test_a_model_that_cannot_be_served_is_refused_with_its_reason() -> None:
    board = switchboard()
    broken = model(obstacle=Obstacle("WeightsMissing", "the volume is empty"))
    board.apply(ModelSeen(broken), now=0)

    (effect,) = board.arrive(1, broken, Ask(1), now=0)
    assert isinstance(effect, Refused)
    assert (effect.refusal.status, effect.refusal.code) == (503, "WeightsMissing")
    assert "the volume is empty" in effect.refusal.message


def test_who_waits_is_told_when_the_model_turns_out_to_be_broken() -> None:
    board = switchboard()
    board.arrive(1, M, Ask(1), now=0)

    assert refused(board.apply(ModelSeen(model(obstacle=Obstacle("LoadFailed", "no such layer"))), now=0)) == [(1, 503)]


def test_an_obstacle_does_not_stop_a_model_that_still_has_a_ready_worker() -> None:
    board = switchboard("a")
    broken = model(obstacle=Obstacle("Unschedulable", "no GPU for the second worker"))
    board.apply(ModelSeen(broken), now=0)

    assert granted(board.arrive(1, broken, Ask(1), now=0)) == [(1, "a")]


def test_who_waits_is_told_when_the_model_is_gone() -> None:
    board = switchboard()
    board.arrive(1, M, Ask(1), now=0)

    assert refused(board.apply(ModelGone("m"), now=0)) == [(1, 404)]


def test_a_model_that_may_not_be_started_is_refused() -> None:
    board = Switchboard(Registry())
    manual = model(scaling=None)
    board.apply(ModelSeen(manual), now=0)

    assert refused(board.arrive(1, manual, Ask(1), now=0)) == [(1, 503)]


@pytest.mark.parametrize("state", [EndpointState.STARTING, EndpointState.DRAINING])
def test_only_ready_workers_take_jobs(state: EndpointState) -> None:
    board = switchboard()
    board.apply(endpoint("a", state=state), now=0)

    assert granted(board.arrive(1, M, Ask(1), now=0)) == []


def test_a_job_does_not_meet_the_worker_that_it_lost_before() -> None:
    board = switchboard("a")

    assert granted(board.arrive(1, M, Ask(1, excluded=("a",)), now=0)) == []
    assert granted(board.apply(endpoint("b"), now=0)) == [(1, "b")]


def test_a_job_with_an_excluded_worker_does_not_block_those_behind_it() -> None:
    board = switchboard("a")
    (running,) = [each for each in board.arrive(1, M, Ask(1), now=0) if isinstance(each, Granted)]
    board.arrive(2, M, Ask(1, excluded=("a",)), now=0)
    board.arrive(3, M, Ask(1), now=0)

    assert granted(board.release(running, now=0)) == [(3, "a")]


def test_a_job_that_comes_behind_one_with_an_excluded_worker_takes_the_free_slot() -> None:
    board = switchboard("a")
    board.arrive(1, M, Ask(1, excluded=("a",)), now=0)

    assert granted(board.arrive(2, M, Ask(1), now=0)) == [(2, "a")]
    assert board.waiting("m") == 1


def test_a_caller_who_leaves_the_line_is_not_served() -> None:
    board = switchboard()
    board.arrive(1, M, Ask(1), now=0)
    board.leave("m", 1)

    assert granted(board.apply(endpoint("a"), now=0)) == []


def test_the_slot_of_a_vanished_worker_is_nobodys() -> None:
    board = switchboard("a")
    (grant,) = [each for each in board.arrive(1, M, Ask(1), now=0) if isinstance(each, Granted)]
    board.arrive(2, M, Ask(1), now=0)
    board.apply(EndpointGone("a"), now=0)

    assert granted(board.release(grant, now=0)) == []
    assert granted(board.apply(endpoint("b"), now=0)) == [(2, "b")]


@dataclass
class World:
    """A switchboard under random events, and what must stay true of it."""

    board: Switchboard = field(default_factory=lambda: switchboard(line_limit=5))
    running: dict[int, Granted] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    now: float = 0

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Granted(ticket):
                    if ticket in self.waiting:
                        assert self.waiting[0] == ticket, "the line's order is kept"
                        self.waiting.remove(ticket)
                    self.running[ticket] = effect
                    self.served.append(ticket)
                case Refused(ticket):
                    if ticket in self.waiting:
                        self.waiting.remove(ticket)
                case Wake():
                    states = {each.state for each in self.board.registry.endpoints_of("m")}
                    assert states <= {EndpointState.DRAINING}, "who has a worker is not asked for one"

    def check(self) -> None:
        load = Counter(grant.endpoint.id for grant in self.running.values())
        for each in self.board.registry.endpoints:
            assert each.in_flight == load[each.id] <= each.capacity
        assert self.board.waiting("m") == len(self.waiting) <= 5
        assert len(self.served) == len(set(self.served)), "a job is granted once"
        free = sum(each.free for each in self.board.registry.endpoints)
        assert not (free and self.waiting), "nobody waits beside a free slot"


events = st.lists(st.tuples(st.sampled_from(["job", "end", "up", "drain", "gone", "time"]), st.integers(0, 9)), max_size=60)


@given(events)
def test_no_worker_is_overfull_nobody_waits_beside_a_free_slot_and_order_is_kept(happenings: list[tuple[str, int]]) -> None:
    world = World()
    for ticket, (kind, number) in enumerate(happenings):
        match kind:
            case "job":
                effects = world.board.arrive(ticket, M, Ask(1), now=world.now)
                if not any(isinstance(each, Granted | Refused) for each in effects):
                    world.waiting.append(ticket)
                world.take(effects)
            case "end" if world.running:
                _, grant = world.running.popitem()
                world.take(world.board.release(grant, world.now))
            case "up":
                world.take(world.board.apply(endpoint(f"{ticket}", capacity=1 + number % 3), world.now))
            case "drain" | "gone" if world.board.registry.endpoints:
                ends = world.board.registry.endpoints[number % len(world.board.registry.endpoints)]
                capacity, state = ends.capacity, EndpointState.DRAINING
                change = EndpointGone(ends.id) if kind == "gone" else endpoint(ends.id, capacity=capacity, state=state)
                world.take(world.board.apply(change, world.now))
            case _:
                world.now += number * 10
                world.take(world.board.expire(world.now))
        world.check()


def test_jobs_that_another_orchestrator_gave_to_an_endpoint_not_told_yet_count_when_it_is() -> None:
    board = switchboard(capacity=2)
    first, second = (board.adopt(Endpoint("a", "m", ""), cost=1, now=0) for _ in range(2))
    board.apply(endpoint("a", capacity=2), now=1)

    assert granted(board.arrive(1, M, Ask(1), now=1)) == []
    assert granted(board.release(first, now=2)) == [(1, "a")]
    board.release(second, now=3)
    assert [each.in_flight for each in board.registry.endpoints] == [1]


def test_a_grant_tells_for_how_long_the_model_had_no_worker_while_its_job_waited() -> None:
    board = switchboard("a")
    board.arrive(1, M, Ask(1), now=0)
    board.arrive(2, M, Ask(1), now=1)
    board.apply(EndpointGone("a"), now=5)

    (grant,) = [each for each in board.apply(endpoint("b"), now=12) if isinstance(each, Granted)]
    assert (grant.ticket, grant.cold) == (2, 7)
    board.arrive(3, M, Ask(1), now=13)
    (after,) = [each for each in board.release(grant, now=20) if isinstance(each, Granted)]
    assert (after.ticket, after.cold) == (3, 0), "a busy worker is one"


def test_a_job_that_lost_its_worker_is_refused_at_once_where_its_model_is_offered_no_longer() -> None:
    board = switchboard("a")
    board.arrive(1, M, Ask(1), now=0)
    board.apply(ModelGone("m"), now=1)

    assert refused(board.arrive(2, M, Ask(1, excluded=("a",)), now=2)) == [(2, 404)]
    assert board.line("m") is None
