"""How workers leave."""

from stoker_orchestrator.domain.model import Endpoint, EndpointState, Leaving
from stoker_orchestrator.domain.retirement import Rank, Retired, Retirement


def test_a_worker_that_an_earlier_leader_had_chosen_has_its_time_from_the_beginning() -> None:
    retirement = Retirement()
    chosen = Endpoint("a", "m", "", state=EndpointState.READY, leaving=Leaving.RETIRING, in_flight=1)

    assert retirement.retire([chosen], "Idle", now=10) == [Retired("m", "a", "Idle")]
    retirement.ranked(Rank("m", "a", -1))
    assert not retirement.over([chosen], drain_timeout=60, now=69)
    assert retirement.over([chosen], drain_timeout=60, now=70)


def test_nobody_goes_where_there_are_too_few() -> None:
    standing = [Endpoint(name, "m", "", state=EndpointState.READY) for name in "ab"]

    assert Retirement().choose(standing, -1) == []
