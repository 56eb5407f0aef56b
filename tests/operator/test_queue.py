"""The queue of keys, in virtual time."""

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_operator.app.queue import KeyQueue, Pauses

PAUSES = Pauses(spacing=0.0, first=1.0, longest=8.0)


@pytest.fixture
def queue() -> KeyQueue[str]:
    return KeyQueue(PAUSES, lambda: 1.0)


def test_a_key_that_is_added_twice_is_taken_once(queue: KeyQueue[str]) -> None:
    queue.add("aa", 0.0)

    assert queue.take(0.0) == "a"
    assert queue.take(0.0) is None
    assert len(queue) == 0


def test_keys_are_taken_in_the_order_in_which_they_became_due(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0, delay=5.0)
    queue.add("b", 1.0)
    queue.add("c", 1.0)

    assert [queue.take(9.0) for _ in range(3)] == ["b", "c", "a"]


def test_a_key_under_way_is_not_given_out_again_and_comes_again_when_it_was_dirtied(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0)
    queue.take(0.0)
    queue.add("a", 1.0)

    assert queue.take(2.0) is None
    assert len(queue) == 1
    queue.done("a", 3.0)
    assert queue.take(3.0) == "a"
    queue.done("a", 4.0)
    assert queue.take(99.0) is None


def test_nothing_is_taken_before_it_is_due(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0, delay=2.0)

    assert queue.next_due() == 2.0
    assert queue.take(1.9) is None
    assert queue.take(2.0) == "a"
    assert queue.next_due() is None


def test_an_earlier_wish_wins_over_a_later_one(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0, delay=60.0)
    queue.add("a", 1.0)
    queue.add("a", 1.0, delay=30.0)

    assert queue.take(1.0) == "a"
    queue.done("a", 1.0)
    assert queue.next_due() is None


def test_failures_double_the_pause_up_to_a_bound_and_a_success_forgets_them(queue: KeyQueue[str]) -> None:
    now, pauses = 0.0, []
    queue.add("a", now)
    for _ in range(6):
        assert queue.take(now) == "a"
        pauses.append(queue.failed("a", now))
        assert queue.take(now + pauses[-1] - 0.01) is None
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]

    queue.take(now)
    queue.done("a", now)
    queue.add("a", now)
    queue.take(now)
    assert queue.failed("a", now) == 1.0


def test_a_failed_key_that_is_dirtied_by_an_event_does_not_wait_for_its_pause(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0)
    queue.take(0.0)
    queue.failed("a", 0.0)
    queue.add("a", 0.1)

    assert queue.take(0.1) == "a"


def test_chance_spreads_pauses_over_the_upper_half() -> None:
    assert PAUSES.after(3, 0.0) == 2.0
    assert PAUSES.after(3, 1.0) == 4.0
    assert PAUSES.after(10_000, 1.0) == 8.0


def test_a_key_comes_again_after_the_asked_time(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0)
    queue.take(0.0)
    queue.done("a", 1.0, again_after=30.0)

    assert queue.take(30.9) is None
    assert queue.take(31.0) == "a"


def test_a_burst_of_events_makes_one_reconcile_for_each_spacing() -> None:
    queue: KeyQueue[str] = KeyQueue(Pauses(spacing=1.0), lambda: 0.0)
    taken = 0
    for tick in range(100):
        now = tick / 10
        queue.add("a", now)
        if queue.take(now) is not None:
            taken += 1
            queue.done("a", now)

    assert taken == 10


def test_a_key_that_is_done_with_is_forgotten() -> None:
    class Thing:
        pass

    queue: KeyQueue[Thing] = KeyQueue(Pauses(spacing=1.0), lambda: 0.0)
    seen = []
    for now in range(2):
        thing = Thing()
        seen.append(weakref.ref(thing))
        queue.add([thing], now)
        queue.take(now)
        queue.done(thing, now)
        del thing

    assert [each() is None for each in seen] == [True, False]


def test_what_is_under_way_is_told_with_its_beginning(queue: KeyQueue[str]) -> None:
    queue.add("a", 0.0)
    queue.take(7.0)

    assert queue.running == {"a": 7.0}


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done", "fail"]), st.sampled_from("abc")), max_size=80))
def test_no_key_is_ever_lost_or_reconciled_twice_at_a_time(steps: list[tuple[str, str]]) -> None:
    queue: KeyQueue[str] = KeyQueue(Pauses(spacing=0.5), lambda: 0.5)
    owed: set[str] = set()
    under_way: set[str] = set()
    for now, (step, key) in enumerate(steps):
        if step == "add":
            queue.add([key], now)
            owed.add(key)
        elif step == "take":
            taken = queue.take(now)
            if taken is not None:
                assert taken not in under_way
                under_way.add(taken)
                owed.discard(taken)
        elif key in under_way:
            under_way.remove(key)
            if step == "done":
                queue.done(key, now)
            else:
                queue.failed(key, now)
                owed.add(key)

    for key in under_way:
        queue.done(key, 1000)
    left: set[str] = set()
    while (taken := queue.take(2000)) is not None:
        left.add(taken)
    assert left == owed
