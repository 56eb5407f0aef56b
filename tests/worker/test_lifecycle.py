from stoker_contracts.worker import HealthState
from stoker_worker.domain.lifecycle import Lifecycle, State
from stoker_worker.domain.line import Refusal


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


def test_a_parked_worker_is_ready_idle_and_can_be_asked_to_stop() -> None:
    parked = Lifecycle().loaded().parked()

    assert (parked.state, parked.ready, parked.refusal, parked.health(0)) == (State.PARKED, True, None, HealthState.IDLE)
    assert parked.unparked() == Lifecycle().loaded()
    assert parked.drained_from_now().unparked().state is State.DRAINING
    assert Lifecycle().loaded().drained_from_now().parked().state is State.DRAINING
