"""What the registry keeps, and what it lets go."""

from stoker_orchestrator.domain.events import EndpointGone, ModelGone, ModelSeen
from stoker_orchestrator.domain.model import EndpointState
from stoker_orchestrator.domain.registry import Registry
from tests.support.fleet import endpoint, model


def registry(*endpoints: str) -> Registry:
    made = Registry()
    made.apply(ModelSeen(model()), now=0)
    for identity in endpoints:
        made.apply(endpoint(identity), now=0)
    return made


def test_an_endpoint_that_was_told_as_gone_too_soon_has_its_jobs_still() -> None:
    made = registry("a")
    (first,) = made.endpoints
    made.take(first, 10)
    made.apply(EndpointGone("a"), now=1)
    assert not made.busy

    made.apply(endpoint("a"), now=2)
    (again,) = made.endpoints
    assert (again.in_flight, again.work, again.free) == (1, 10, 0)
    assert list(made.busy) == [again]

    made.give_back(first, 10, now=3)
    assert (again.in_flight, again.free, list(made.busy)) == (0, 1, [])


def test_an_endpoint_that_comes_back_is_not_ejected_any_more() -> None:
    made = registry("a")
    (first,) = made.endpoints
    made.take(first, 1)
    first.ejected = True
    made.apply(EndpointGone("a"), now=1)
    made.apply(endpoint("a"), now=2)

    assert made.is_warm("m")


def test_an_endpoint_that_is_gone_is_forgotten_with_its_last_job() -> None:
    made = registry("a")
    (first,) = made.endpoints
    made.take(first, 1)
    made.apply(EndpointGone("a"), now=1)
    made.give_back(first, 1, now=2)
    made.apply(endpoint("a"), now=3)

    assert made.endpoints[0] is not first
    assert not made._departed


def test_nothing_is_learnt_of_a_model_that_is_not_offered_any_more() -> None:
    made = registry()
    made.apply(endpoint("a", state=EndpointState.STARTING), now=0)
    (known,) = made.endpoints
    made.apply(ModelGone("m"), now=1)
    made.apply(endpoint("a"), now=2)
    made.observe(known, cost=1, seconds=5)

    assert not made.rates.known("m")
    assert made.estimated_start("m") == registry().estimated_start("m")


def test_a_job_of_another_orchestrator_counts_for_itself_whatever_was_shown_of_its_endpoint() -> None:
    made = registry("a")
    (shown,) = made.endpoints
    shown.in_flight = 2  # as the leader had told
    made.apply(EndpointGone("a"), now=1)
    counted = made.same(shown)
    made.take(counted, 1)
    assert made.same(shown) is counted

    made.give_back(counted, 1, now=2)
    assert counted.in_flight == 0
    assert not made._departed
