"""The line by itself: who waits, and what runs together."""

from collections import Counter, defaultdict
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.domain.line import Entry, Line, Piece, Refusal


def entry(ticket: int, key: str = "a", rows: int = 1, cost: float = 1.0, deadline: float | None = None) -> Entry:
    return Entry(ticket, key, rows, cost, deadline)


def started(line: Line, most: int = 8) -> list[tuple[int, int]]:
    """Ticket and index of the rows of the next batch."""
    found = line.start(lambda _: most)
    return [(piece.ticket, piece.index) for piece in found[1]] if found is not None else []


def finish(line: Line) -> None:
    """The batch went well."""
    pieces = line.running
    line.finish()
    for piece in pieces:
        line.made(piece.ticket)


def order(line: Line, most: int = 8) -> list[list[int]]:
    """The tickets of all batches, until nobody waits."""
    batches = []
    while rows := started(line, most):
        batches.append([ticket for ticket, _ in rows])
        finish(line)
    return batches


def test_a_full_line_takes_nothing_until_a_job_ends() -> None:
    line = Line(capacity=1)
    line.admit(entry(1))
    started(line)

    assert line.admit(entry(2)) is Refusal.FULL
    finish(line)
    assert line.admit(entry(3)) is None


def test_what_waits_with_one_key_runs_together_in_the_order_it_came_and_no_more_than_may() -> None:
    line = Line(capacity=9)
    for ticket in range(5):
        line.admit(entry(ticket))

    assert order(line, most=3) == [[0, 1, 2], [3, 4]]


def test_one_batch_runs_at_a_time() -> None:
    line = Line(capacity=2)
    line.admit(entry(1))
    assert started(line) == [(1, 0)]
    line.admit(entry(2))

    assert started(line) == []


def test_rows_of_a_large_job_are_spread_over_batches_and_meet_those_of_others() -> None:
    line = Line(capacity=3)
    line.admit(entry(1, rows=5))
    line.admit(entry(2, rows=2))

    assert started(line, most=4) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    finish(line)
    assert line.in_flight == 2
    assert started(line, most=4) == [(1, 4), (2, 0), (2, 1)]
    finish(line)
    assert line.in_flight == 0


def test_cheap_jobs_that_come_later_pass_dear_ones_that_wait() -> None:
    line = Line(capacity=9)
    for ticket in (1, 2, 3):
        line.admit(entry(ticket, "dear", cost=100))
    started(line, most=1)
    line.admit(entry(4, "cheap"))
    finish(line)

    assert order(line, most=1) == [[4], [2], [3]]


def test_dear_jobs_are_not_starved_by_cheap_ones_that_keep_coming() -> None:
    line = Line(capacity=9)
    line.admit(entry(0, "dear", cost=10))
    batches = []
    for ticket in range(1, 40):
        line.admit(entry(ticket, "cheap"))
        batches.append(started(line, most=1))
        finish(line)

    assert batches.index([(0, 0)]) == 9, "ten cheap jobs have earned it the price of its own"


def test_equal_jobs_of_different_keys_run_in_the_order_they_came() -> None:
    line = Line(capacity=9)
    for ticket, key in enumerate("cab"):
        line.admit(entry(ticket, key))

    assert order(line) == [[0], [1], [2]]


def test_rows_that_ran_out_of_memory_are_first_again_and_can_run_together() -> None:
    line = Line(capacity=9)
    for ticket in range(6):
        line.admit(entry(ticket))
    started(line, most=4)
    pieces = line.running
    line.finish()

    line.admit(entry(6, "b", cost=2))
    line.again(pieces, alone=False)

    assert order(line, most=2)[:2] == [[0, 1], [2, 3]], "their turn is paid for"


def test_rows_of_a_batch_that_failed_run_one_by_one_and_before_those_that_came_later() -> None:
    line = Line(capacity=9)
    for ticket in range(4):
        line.admit(entry(ticket))
    started(line, most=2)
    pieces = line.running
    line.finish()

    line.again(pieces, alone=True)

    assert order(line) == [[0], [1], [2, 3]]


def test_a_job_that_waits_leaves_at_once_and_one_that_runs_leaves_the_rows_that_run() -> None:
    line = Line(capacity=3)
    line.admit(entry(1, rows=3))
    line.admit(entry(2))
    started(line, most=2)

    assert line.withdraw(2)
    assert not line.withdraw(1)
    assert line.in_flight == 1
    line.finish()
    assert started(line) == []
    line.drop(1)
    assert line.in_flight == 0


def test_jobs_whose_time_is_over_leave_unless_they_have_begun() -> None:
    line = Line(capacity=4)
    line.admit(entry(1, rows=2, deadline=5))
    line.admit(entry(2, deadline=5))
    line.admit(entry(3, deadline=6))
    line.admit(entry(4))
    started(line, most=1)

    assert line.expire(4.9) == []
    assert line.expire(5) == [2]
    assert line.expire(5) == []
    assert line.in_flight == 3


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 6), st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=60))
def test_while_a_lane_waits_no_other_gets_more_than_both_their_dearest_batches(most: int, jobs: list[tuple[int, int, int]]) -> None:
    """All lanes have work all the time, so the bound is that of deficit round robin: what one can save, and what it waits for."""
    line = Line(capacity=len(jobs))
    costs = {key: cost for key, cost, _ in jobs}
    for ticket, (key, _, rows) in enumerate(jobs):
        line.admit(Entry(ticket, key, rows, costs[key]))
    spent_since: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    while found := line.start(lambda _: most):
        served, pieces = found
        assert isinstance(served, int)
        for waiting in costs.keys() & line._lanes.keys() - {served}:
            spent_since[waiting][served] += len(pieces) * costs[served]
            assert spent_since[waiting][served] <= most * (costs[waiting] + costs[served])
        spent_since.pop(served, None)
        finish(line)


def test_a_job_meets_a_bounded_amount_of_others_work_however_much_keeps_coming() -> None:
    """The worst there is: one dear job, and cheap ones with new keys whenever there is room."""
    line = Line(capacity=8)
    line.admit(Entry(0, "dear", 1, 50.0))
    others = 0
    for ticket in range(1, 10_000):
        line.admit(Entry(ticket, ("cheap", ticket), 1, 1.0))
        found = line.start(lambda _: 4)
        assert found is not None
        if found[0] == "dear":
            break
        others += 1
        finish(line)

    assert others <= line.capacity * (50 + 1)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_piece_tells_its_job_and_its_place(rows: int) -> None:
    line = Line(capacity=1)
    line.admit(entry(7, rows=rows))

    found = line.start(lambda _: 8)

    assert found == ("a", tuple(Piece(7, index) for index in range(rows)))
