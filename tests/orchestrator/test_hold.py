"""The waiting line: order, fairness, two clocks, with time as a number."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_orchestrator.domain.hold import Ask, Line
from stoker_orchestrator.domain.model import Endpoint

ANY = Endpoint("a", "m", "127.0.0.1:1")


def line(*asks: Ask, warm: bool = True, start_timeout: float = 60) -> Line:
    made = Line(0, warm=warm)
    for ticket, ask in enumerate(asks):
        made.join(ticket, ask, now=ticket, start_timeout=start_timeout)
    return made


def served(made: Line, most: int = 100) -> list[int]:
    tickets = []
    for _ in range(most):
        found = made.serve(lambda _: ANY)
        if found is None:
            break
        tickets.append(found[0].ticket)
    return tickets


def lasting(*seconds: float) -> Line:
    """Jobs of one caller that take so long, one after each second."""
    made = Line(0, warm=True)
    for ticket, each in enumerate(seconds):
        made.join(ticket, Ask(each, "one"), now=ticket, start_timeout=60, seconds=each)
    return made


def test_jobs_of_one_caller_that_take_as_long_are_served_in_the_order_in_which_they_came() -> None:
    assert served(lasting(3, 3, 3, 3, 3)) == [0, 1, 2, 3, 4]


def test_a_job_whose_duration_is_not_known_is_passed_by_none_of_its_caller() -> None:
    assert served(line(*(Ask(cost, "one") for cost in (5, 1, 9, 2, 2)))) == [0, 1, 2, 3, 4]


def test_a_job_is_passed_by_shorter_ones_that_came_while_it_would_have_run() -> None:
    assert served(lasting(4, 1, 1, 1, 1, 1)) == [1, 2, 0, 3, 4, 5]


def test_a_long_job_is_served_although_short_ones_never_end() -> None:
    made = lasting(10)
    passed = 0
    while True:
        made.join(passed + 1, Ask(1, "one"), now=passed, start_timeout=1000, seconds=1)
        if served(made, most=1) == [0]:
            break
        passed += 1

    assert passed == 9


def test_who_stood_behind_because_jobs_were_thought_to_take_long_goes_first_once_that_is_known_better() -> None:
    made = Line(0, warm=True)
    made.join(0, Ask(10, "one"), now=0, start_timeout=60, seconds=40)
    made.join(1, Ask(10, "one"), now=9, start_timeout=60, seconds=1)
    made.join(2, Ask(1, "one"), now=10, start_timeout=60)

    made.expect(lambda cost: cost / 10)

    assert served(made) == [0, 1, 2]


def test_whose_turn_it_is_among_callers_stays_when_durations_are_known_better() -> None:
    made = Line(0, warm=True)
    for ticket in range(7):
        made.join(ticket, Ask(1, "many" if ticket < 5 else "few"), now=ticket, start_timeout=60, seconds=60 - 2 * ticket)
    first = served(made, 1)

    made.expect(lambda _: 1.0)

    assert first == [6]
    assert served(made) == [0, 1, 5, 2, 3, 4], "the one caller has had a job already"


def test_the_order_of_waiting_holds_after_jobs_came_in_another_one() -> None:
    made = Line(0, warm=True)
    for ticket, waited in enumerate((0, 5, 9)):
        made.join(ticket, Ask(1, "one", waited=waited), now=10, start_timeout=60, seconds=2)
    made.reorder()

    assert served(made) == [2, 1, 0]


def test_callers_with_one_job_each_are_served_in_the_order_in_which_they_came() -> None:
    assert served(line(*(Ask(cost, f"caller {cost}") for cost in (5, 1, 9, 2)))) == [0, 1, 2, 3]


def test_a_caller_with_many_jobs_does_not_keep_the_others_waiting() -> None:
    flood, other = [Ask(1, "flood")] * 6, [Ask(1, "other")] * 2

    assert served(line(*flood, *other)) == [0, 6, 1, 7, 2, 3, 4, 5]


def test_a_caller_of_dear_jobs_is_served_less_often() -> None:
    assert served(line(*[Ask(4, "dear")] * 2, *[Ask(1, "cheap")] * 5)) == [0, 2, 3, 4, 5, 1, 6]


def test_a_caller_who_was_served_before_waits_behind_who_was_not() -> None:
    made = line(Ask(10, "a"), Ask(1, "b"))
    assert served(made, most=1) == [0]
    made.join(2, Ask(1, "a"), now=3, start_timeout=60)

    assert served(made) == [1, 2]


def test_a_job_that_lost_its_worker_goes_before_all_others() -> None:
    made = line(Ask(1, "a"), Ask(1, "a"))
    made.join(2, Ask(1, "a", excluded=("lost",)), now=2, start_timeout=60)

    assert served(made) == [2, 0, 1]


def test_of_jobs_with_equal_claims_the_one_that_waited_elsewhere_before_goes_first() -> None:
    made = line(Ask(1, "a"))
    made.join(1, Ask(1, "b", waited=30), now=1, start_timeout=60)

    assert served(made) == [1, 0]
    assert made.oldest(now=5) == 0


def test_who_does_not_fit_is_passed_over_only_where_it_has_exclusions() -> None:
    made = line(Ask(1, "a", excluded=("a",)), Ask(1, "b"))
    found = made.serve(lambda ask: None if ask.excluded else ANY)

    assert found is not None
    assert found[0].ticket == 1
    assert made.serve(lambda _: None) is None
    assert len(made) == 1


def test_a_cold_start_does_not_eat_the_jobs_own_patience() -> None:
    made = line(Ask(1, "a", patience=5), warm=False)

    assert made.expired(now=50) == []
    made.turn(50, warm=True)
    assert made.expired(now=54.9) == []
    assert [job.ticket for job in made.expired(now=55)] == [0]


def test_a_job_waits_for_a_first_worker_no_longer_than_the_model_allows() -> None:
    made = line(Ask(1, "a", patience=500), warm=False)

    assert made.expired(now=59.9) == []
    assert [job.ticket for job in made.expired(now=60)] == [0]
    assert made.work == 0


def test_time_without_a_worker_adds_up_over_interruptions() -> None:
    made = line(Ask(1, "a"), warm=False)
    made.turn(30, warm=True)
    made.turn(31, warm=False)

    assert made.expired(now=60.9) == []
    assert [job.ticket for job in made.expired(now=61)] == [0]


def test_the_line_knows_its_work_its_callers_and_who_waits_longest() -> None:
    made = line(Ask(2, "a"), Ask(3, "b"), Ask(4, "b"))

    assert (len(made), made.work, made.callers, made.oldest(now=10)) == (3, 9, 2, 10)
    made.leave(0)
    assert (len(made), made.work, made.callers, made.oldest(now=10)) == (2, 7, 1, 9)
    assert made.leave(0) is None


def test_callers_of_the_past_are_forgotten_while_the_line_never_empties() -> None:
    made = line(Ask(1, "first"))
    for number in range(1000):
        made.join(number + 1, Ask(1, f"caller {number}"), now=number, start_timeout=60)
        served(made, most=1)

    assert len(made._order._ends) < 150


jobs = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 50)), min_size=1, max_size=60)


@given(jobs)
def test_each_caller_gets_its_share_of_the_work_to_within_one_job(asked: list[tuple[str, float]]) -> None:
    made = line(*(Ask(cost, caller) for caller, cost in asked))
    left = defaultdict(list)
    for ticket, (caller, _) in enumerate(asked):
        left[caller].append(ticket)
    done: dict[str, float] = defaultdict(float)
    for ticket in served(made):
        caller, cost = asked[ticket]
        assert left[caller].pop(0) == ticket, "a caller's own jobs keep their order"
        waiting = [each for each in left if left[each] and each != caller]
        largest = max(cost for _, cost in asked)
        assert all(done[caller] - done[each] <= largest + 1e-6 for each in waiting), "nobody runs ahead of who waits"
        done[caller] += cost
    assert len(made) == 0
    assert made.work == pytest.approx(0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), min_size=1, max_size=60))
def test_nobody_is_passed_by_who_came_later_than_it_takes_itself(asked: list[tuple[float, float]]) -> None:
    made = Line(0, warm=True)
    came = sorted(asked)
    for ticket, (at, seconds) in enumerate(came):
        made.join(ticket, Ask(seconds, "one"), now=at, start_timeout=60, seconds=seconds)
    order = served(made)
    for place, ticket in enumerate(order):
        passed = [each for each in order[place + 1 :] if each < ticket]
        assert all(came[each][0] + came[each][1] >= sum(came[ticket]) for each in passed)


def test_jobs_whose_callers_left_are_forgotten_while_the_line_never_empties() -> None:
    made = line(Ask(1, "patient"))
    for ticket in range(1, 1000):
        made.join(ticket, Ask(1, f"hasty {ticket}"), now=1, start_timeout=60)
        made.leave(ticket)

    assert len(made._order._ends) < 150
    assert served(made) == [0]
