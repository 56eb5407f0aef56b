from hypothesis import given
from hypothesis import strategies as st

from stoker_contracts.worker import HealthState
from stoker_worker.domain.lifecycle import Lifecycle, State
from stoker_worker.domain.queue import JobQueue, Refusal


def test_jobs_run_one_at_a_time_in_the_order_they_came() -> None:
    line = JobQueue(capacity=3)
    assert [line.admit(ticket) for ticket in (1, 2, 3)] == [None, None, None]

    assert line.start() == 1
    assert line.start() is None
    line.finish(1)
    assert line.start() == 2


def test_a_full_line_takes_nothing_until_a_job_ends() -> None:
    line = JobQueue(capacity=1)
    line.admit(1)
    line.start()

    assert line.admit(2) is Refusal.FULL
    line.finish(1)
    assert line.admit(3) is None


def test_a_waiting_job_can_leave_the_line_and_a_running_one_cannot() -> None:
    line = JobQueue(capacity=2)
    line.admit(1)
    line.admit(2)
    line.start()

    assert line.withdraw(2)
    assert not line.withdraw(1)
    assert line.in_flight == 1


def test_the_end_of_another_job_does_not_free_the_running_one() -> None:
    line = JobQueue(capacity=2)
    line.admit(1)
    line.start()

    line.finish(7)

    assert line.running == 1


@given(st.integers(1, 4), st.lists(st.sampled_from(["admit", "start", "finish", "withdraw"]), max_size=40))
def test_the_line_never_holds_more_than_its_capacity(capacity: int, events: list[str]) -> None:
    line = JobQueue(capacity)
    for ticket, event in enumerate(events):
        match event:
            case "admit":
                line.admit(ticket)
            case "start":
                line.start()
            case "finish":
                line.finish(line.running if line.running is not None else -1)
            case _:
                line.withdraw(line.waiting[0] if line.waiting else -1)
        assert 0 <= line.in_flight <= capacity


def test_a_worker_becomes_ready_once_loaded_and_takes_nothing_once_asked_to_stop() -> None:
    loading = Lifecycle()
    ready = loading.loaded()
    draining = ready.drained_from_now()

    assert (loading.refusal, ready.refusal, draining.refusal) == (Refusal.LOADING, None, Refusal.DRAINING)
    assert [each.ready for each in (loading, ready, draining)] == [False, True, False]


def test_a_worker_asked_to_stop_while_it_loads_never_becomes_ready() -> None:
    assert Lifecycle().drained_from_now().loaded().state is State.DRAINING


def test_failure_is_final() -> None:
    failed = Lifecycle().failed()

    assert failed.loaded().state is State.FAILED
    assert failed.drained_from_now().state is State.FAILED
    assert failed.refusal is Refusal.FAILED


def test_health_speaks_livepeers_words() -> None:
    ready = Lifecycle().loaded()

    assert Lifecycle().health(0) is HealthState.LOADING
    assert ready.health(0) is HealthState.IDLE
    assert ready.health(1) is HealthState.OK
    assert ready.failed().health(1) is HealthState.ERROR
