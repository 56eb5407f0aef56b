"""When a job may be tried again."""

from stoker_orchestrator.domain.retries import QUARANTINE_SECONDS, Quarantine, RetryBudget


def test_a_tenth_of_the_jobs_in_flight_and_three_more_may_be_tried_again_at_a_time() -> None:
    budget = RetryBudget()
    assert [budget.take(in_flight=20) for _ in range(6)] == [True] * 5 + [False]

    budget.give_back()
    assert budget.take(in_flight=20)


def test_with_little_under_way_some_jobs_may_still_be_tried_again() -> None:
    assert [RetryBudget().take(in_flight=1)] == [True]


def test_a_job_that_ended_its_workers_is_refused_for_a_while() -> None:
    quarantine = Quarantine()
    quarantine.lock_up(b"poison", now=100)

    assert quarantine.left(b"poison", now=101) == QUARANTINE_SECONDS - 1
    assert quarantine.left(b"other", now=101) == 0
    assert quarantine.left(b"poison", now=100 + QUARANTINE_SECONDS) == 0
    assert len(quarantine) == 0


def test_a_quarantine_whose_jobs_are_all_free_again_is_wary_of_nothing_though_none_of_them_came_back() -> None:
    quarantine = Quarantine()
    quarantine.lock_up(b"first", now=100)
    quarantine.lock_up(b"second", now=200)
    quarantine.lock_up(b"first", now=300)

    assert quarantine.wary(now=200 + QUARANTINE_SECONDS)
    assert len(quarantine) == 1
    assert not quarantine.wary(now=300 + QUARANTINE_SECONDS)
    assert len(quarantine) == 0


def test_the_quarantine_does_not_grow_without_bound() -> None:
    quarantine = Quarantine()
    for number in range(20_000):
        quarantine.lock_up(str(number).encode(), now=number)

    assert len(quarantine) == 10_000
    assert quarantine.left(b"19999", now=20_000) > 0
    assert quarantine.left(b"0", now=20_000) == 0
