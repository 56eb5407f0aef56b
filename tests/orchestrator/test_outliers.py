"""Endpoints that fail: ejected, probed, let in again."""

import itertools

import pytest

from stoker_orchestrator.domain.model import Endpoint, EndpointState
from stoker_orchestrator.domain.outliers import Ejected, Outliers, Probe, Readmitted, Recovered


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint("a", "m", "127.0.0.1:1", state=EndpointState.READY, in_flight=1)


def begun(endpoint: Endpoint) -> Outliers:
    outliers = Outliers()
    outliers.begun(endpoint, now=0)
    return outliers


def test_two_failures_in_a_row_eject_an_endpoint(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)

    assert outliers.failed(endpoint) == []
    assert outliers.failed(endpoint) == [Ejected(endpoint, "failures")]
    assert not endpoint.serving


def test_a_job_that_ends_well_between_two_failures_keeps_an_endpoint(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    outliers.ended(endpoint)

    assert outliers.failed(endpoint) == []
    assert endpoint.serving


def test_an_endpoint_is_probed_once_it_has_worked_for_a_while_and_not_before(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)

    assert outliers.due([endpoint], now=1.9) == []
    assert outliers.due([endpoint], now=2) == [Probe(endpoint)]
    assert outliers.due([endpoint], now=2.1) == []


def test_an_endpoint_that_may_not_answer_while_it_works_is_not_probed_then(endpoint: Endpoint) -> None:
    endpoint.pulse = False

    assert begun(endpoint).due([endpoint], now=60) == []


def test_two_probes_without_an_answer_eject_an_endpoint(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)

    assert outliers.silent("a") == []
    assert outliers.silent("a") == [Ejected(endpoint, "silent")]


def test_an_answer_between_two_silences_keeps_an_endpoint(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.silent("a")
    outliers.answered("a", None, now=4)

    assert outliers.silent("a") == []


def test_a_worker_whose_steps_stand_still_for_long_is_ejected(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.answered("a", 10, now=2)
    outliers.answered("a", 12, now=22)

    assert outliers.answered("a", 12, now=52) == [], "three of its slowest steps are 30 s"
    assert outliers.answered("a", 12, now=52.1) == [Ejected(endpoint, "still")]


def test_a_slow_worker_that_makes_steps_is_left_alone(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)

    assert all(outliers.answered("a", number, now=number * 40.0) == [] for number in range(1, 20))


def test_a_worker_that_has_made_no_step_yet_may_be_compiling_but_not_for_ever(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.answered("a", 0, now=2)

    assert outliers.answered("a", 0, now=602) == []
    assert outliers.answered("a", 0, now=602.1) == [Ejected(endpoint, "still")]


def test_a_job_that_ends_on_an_endpoint_which_is_gone_leaves_no_record_of_it(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.gone("a")
    outliers.ended(endpoint)

    assert outliers.answered("a", 1, now=2) == []
    assert not outliers._records


def test_an_ejected_endpoint_is_probed_ever_less_often_and_comes_back_with_its_first_answer(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    outliers.failed(endpoint)
    endpoint.in_flight = 0
    asked = []
    now = 0.0
    while now < 60:
        now += 0.25
        if outliers.due([], now):
            asked.append(now)
            outliers.silent("a")

    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:3] == [4, 8, 15]
    assert max(pauses) == 15
    assert outliers.answered("a", 3, now=61) == [Readmitted(endpoint)]
    assert endpoint.serving
    assert outliers.failed(endpoint) == [], "it begins anew"


def test_an_endpoint_that_is_gone_is_not_probed_any_more(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    outliers.failed(endpoint)
    endpoint.in_flight = 0
    outliers.gone("a")

    assert outliers.due([], now=100) == []
    assert outliers.silent("a") == []
    assert outliers.answered("a", 1, now=100) == []


def test_a_step_counter_that_began_anew_is_progress(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.answered("a", 100, now=1)
    outliers.answered("a", 110, now=11)
    outliers.answered("a", 3, now=20)

    assert outliers.answered("a", 3, now=49) == []


def test_an_endpoint_that_lost_a_job_is_asked_while_it_is_idle_until_it_answers(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    endpoint.in_flight = 0

    assert outliers.due([], now=2) == [Probe(endpoint)]
    assert not endpoint.recovered
    assert outliers.answered("a", 3, now=2) == [Recovered(endpoint)]
    assert endpoint.recovered
    assert outliers.due([], now=100) == []


def test_an_answer_does_not_make_up_for_a_lost_job(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    outliers.answered("a", None, now=2)

    assert outliers.failed(endpoint) == [Ejected(endpoint, "failures")]


def test_an_endpoint_that_lost_a_job_and_is_silent_then_is_ejected(endpoint: Endpoint) -> None:
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    endpoint.in_flight = 0
    outliers.silent("a")

    assert outliers.silent("a") == [Ejected(endpoint, "silent")]


def test_a_container_whose_health_its_fleet_looks_at_is_not_asked_after_a_lost_job(endpoint: Endpoint) -> None:
    endpoint.pulse = False
    outliers = begun(endpoint)
    outliers.failed(endpoint)
    endpoint.in_flight = 0

    assert outliers.due([], now=60) == []


@pytest.mark.parametrize("losses", [1, 2])
def test_an_endpoint_that_lost_jobs_and_loads_anew_is_back_when_it_is_ready(endpoint: Endpoint, losses: int) -> None:
    outliers = begun(endpoint)
    for _ in range(losses):
        outliers.failed(endpoint)
    endpoint.in_flight = 0

    assert outliers.answered("a", 0, now=2, ready=False) == []
    assert not endpoint.recovered
    assert outliers.due([], now=60) == [Probe(endpoint)]
    assert len(outliers.answered("a", 0, now=61)) == 1
    assert endpoint.recovered
