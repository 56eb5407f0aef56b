"""How many rows run together, learnt from the batches that ran."""

from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.domain.remembered import KEYS, Remembered
from stoker_worker.domain.row_limits import RENEWED_AFTER, RESERVE, TRIALS, RowLimits

GIB = 2**30


def limits(most: int = 8, weights: int = 10 * GIB, budget: int | None = 20 * GIB) -> RowLimits:
    made = RowLimits(most)
    made.loaded(weights, budget)
    return made


def timed(made: RowLimits, seconds_by_rows: dict[int, float], key: str = "a") -> RowLimits:
    """Enough batches of each size, all of them as fast as this."""
    for rows, seconds in seconds_by_rows.items():
        for _ in range(TRIALS):
            made.took(key, rows, seconds)
    return made


def test_a_key_that_was_never_seen_has_the_most_rows_there_may_be() -> None:
    assert RowLimits(8).of("a") == limits().of("a") == 8


def test_what_a_row_needs_bounds_the_rows_of_its_key_and_of_no_other() -> None:
    made = limits()

    made.used("a", 1, 3 * GIB)

    assert (made.of("a"), made.of("b")) == (3, 8)


def test_a_larger_batch_tells_better_what_a_row_needs_than_a_smaller_one() -> None:
    made = limits()
    made.used("a", 1, 3 * GIB)
    made.used("a", 3, 6 * GIB)
    assert made.of("a") == 4

    made.used("a", 1, 3 * GIB)
    assert made.of("a") == 4
    made.used("a", 3, 9 * GIB)
    assert made.of("a") == 3


def test_a_row_that_needs_more_than_there_is_runs_alone_and_shows_what_happens() -> None:
    made = limits()

    made.used("a", 1, 30 * GIB)

    assert made.of("a") == 1


def test_without_a_budget_or_known_weights_memory_bounds_nothing_until_it_runs_out() -> None:
    for made in (limits(budget=None), limits(weights=0)):
        made.used("a", 1, 30 * GIB)
        assert made.of("a") == 8
        made.too_many("a", 8)
        assert made.of("a") == 4


def test_a_batch_that_ran_out_of_memory_is_halved_for_good_down_to_one_row() -> None:
    made = limits()
    seen = []
    for rows in (7, 3, 1):
        made.too_many("a", rows)
        seen.append(made.of("a"))
    made.too_many("a", 8)
    for _ in range(1000):
        made.took("a", 1, 1.0)

    assert seen == [3, 1, 1]
    assert made.of("a") == 1


@given(
    st.integers(1, 64),
    st.integers(1, 100),
    st.integers(1, 200),
    st.lists(st.tuples(st.integers(1, 64), st.integers(0, 60)), max_size=30),
)
def test_as_many_rows_as_may_run_fit_the_budget_less_its_reserve(
    most: int, weights: int, spare: int, batches: list[tuple[int, int]]
) -> None:
    made = limits(most, weights, budget := weights + spare)
    per_row = 0.0
    largest = 0
    for rows, activations in batches:
        made.used("a", rows, activations)
        if activations and rows >= largest:
            per_row = max(per_row, activations / rows) if rows == largest else activations / rows
            largest = rows

        rows_now = made.of("a")

        assert 1 <= rows_now <= most
        assert rows_now == 1 or not per_row or weights + rows_now * per_row <= budget * (1 - RESERVE) * (1 + 1e-9)


def test_rows_that_get_no_faster_together_run_one_by_one() -> None:
    assert timed(limits(), {1: 1.0, 2: 1.98, 8: 7.9}).of("a") == 1


def test_a_batch_grows_as_far_as_its_rows_get_faster() -> None:
    assert timed(limits(), {1: 1.0, 2: 1.2, 4: 1.6, 8: 3.15}).of("a") == 4
    assert timed(limits(), {1: 1.0, 2: 1.2, 4: 1.6, 8: 2.4}).of("a") == 8


def test_one_slow_batch_says_nothing_and_the_fastest_counts() -> None:
    made = limits()
    made.took("a", 1, 1.0)
    made.took("a", 8, 80.0)
    assert made.of("a") == 8

    timed(made, {1: 1.0, 8: 3.0})
    made.took("a", 8, 80.0)
    assert made.of("a") == 8


def test_what_was_learnt_of_time_is_learnt_anew_after_a_while() -> None:
    made = timed(limits(), {1: 1.0, 8: 8.0})
    assert made.of("a") == 1

    for _ in range(RENEWED_AFTER):
        made.took("a", 1, 1.0)

    assert made.of("a") == 8


def test_the_keys_used_last_are_remembered_and_no_more() -> None:
    made: Remembered[list[int]] = Remembered(list)
    for key in range(KEYS):
        made[key].append(key)

    assert made[0] == [0], "this one is used again"
    made[KEYS].append(KEYS)

    assert len(made) == KEYS
    assert (made[0], made[2], made[KEYS]) == ([0], [2], [KEYS])
    assert made[1] == []
