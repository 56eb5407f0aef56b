"""How workers leave when activity falls, in virtual time."""

from stoker_orchestrator.domain.model import Leaving
from stoker_orchestrator.domain.retirement import Rank, Retired, Revived
from stoker_orchestrator.domain.scaling import Scale
from tests.support.scaled import effects, leaving, scaled, warmed
from tests.support.virtual import cluster


def test_idle_workers_go_to_the_least_after_the_idle_time_and_no_job_is_lost() -> None:
    here = warmed(least=1)
    last = here.now
    here.until(lambda: here.replicas() == 1)

    assert here.now - last >= 120 - 20, "what was needed in the window is kept"
    assert here.killed_busy == []
    assert {each.reason for each in effects(here, Retired)} == {"Idle"}
    here.run(300)
    assert here.replicas() == 1


def test_who_goes_is_ranked_first_and_routed_around_before_it_is_ended() -> None:
    here = warmed()
    here.until(lambda: effects(here, Retired))
    going = {each.endpoint for each in effects(here, Retired)}
    ranks = [each for each in effects(here, Rank) if each.cost < 0]
    assert {each.endpoint for each in ranks} == going
    assert here.replicas() == 3

    here.run(2)
    assert here.replicas() == 3 - len(going)
    assert not going & {pod.id for pod in here.pods.values() if pod.gone_at is None}


def test_a_job_that_comes_in_the_first_phase_keeps_the_worker() -> None:
    here = warmed()
    here.until(lambda: effects(here, Retired))
    for _ in range(3):
        here.send(seconds=5)
    here.run(1)

    assert here.replicas() == 3
    assert leaving(here) == [Leaving.STAYS] * 3
    assert {each.reason for each in effects(here, Revived)} == {"Demand"}
    here.run(1)
    assert {pod.cost for pod in here.pods.values()} == {0}
    here.until(lambda: len(here.served) == 44)
    assert here.killed_busy == []


def test_workers_stay_when_the_fleet_cannot_end_them() -> None:
    here = warmed()
    here.refuse = lambda effect: isinstance(effect, Scale)
    here.until(lambda: here.scaled[-1][2] < 3)
    assert Leaving.CONDEMNED not in leaving(here)
    asked = len(here.scaled)
    ticket = here.send()
    here.run(2)
    assert ticket in here.served

    here.refuse = lambda _: False
    here.until(lambda: here.replicas() < 3)
    assert len(here.scaled) > asked


def test_nobody_is_ended_before_the_fleet_knows_who_goes_first() -> None:
    here = warmed()
    here.refuse = lambda effect: isinstance(effect, Rank) and effect.cost < 0
    here.run(200)
    assert here.replicas() == 3

    here.refuse = lambda _: False
    here.until(lambda: here.replicas() < 3)


def test_a_condemned_worker_is_called_back_when_the_fleet_is_slow_to_end_it() -> None:
    here = cluster(scaled(idle_after=70))
    here.send()
    here.until(lambda: here.served)
    control = here._control
    here.until(lambda: Leaving.RETIRING in leaving(here))
    here._control = lambda: None  # type: ignore[method-assign] # the operator is away
    here.until(lambda: here.replicas() == 0)
    assert leaving(here) == [Leaving.CONDEMNED]

    ticket = here.send()
    here.until(lambda: ticket in here.served, seconds=10)
    here._control = control  # type: ignore[method-assign]
    here.run(5)
    assert len(here.loads) == 1


def test_a_busy_worker_goes_when_its_job_ends_and_meanwhile_gets_no_other() -> None:
    here = cluster(scaled(most=2, idle_after=70, capacity=4))
    here.send()
    here.until(lambda: here.served)
    for _ in range(20):
        here.send(seconds=8)
    here.until(lambda: len(here.ready()) == 2)
    here.until(lambda: len(here.served) == 21)
    long = [here.send(seconds=300), here.send(seconds=300)]
    here.run(1)
    assert sorted(each.in_flight for each in here.board.registry.endpoints) == [1, 1]

    here.until(lambda: Leaving.RETIRING in leaving(here))
    (goes,) = (each for each in here.board.registry.endpoints if each.leaving is Leaving.RETIRING)
    here.send()
    assert goes.in_flight == 1
    here.run(10)
    assert here.replicas() == 2
    here.until(lambda: here.replicas() == 1)
    assert set(long) <= set(here.served)
    assert here.killed_busy == []


def test_a_job_that_is_longer_than_the_drain_time_does_not_keep_its_worker() -> None:
    here = cluster(scaled(most=2, idle_after=70, capacity=4, drain_timeout=30))
    here.send()
    here.until(lambda: here.served)
    for _ in range(20):
        here.send(seconds=8)
    here.until(lambda: len(here.ready()) == 2)
    here.until(lambda: len(here.served) == 21)
    for _ in range(2):
        here.send(seconds=1000)
    here.until(lambda: Leaving.RETIRING in leaving(here))
    began = here.now
    here.until(lambda: here.replicas() == 1)

    assert 30 <= here.now - began <= 32
