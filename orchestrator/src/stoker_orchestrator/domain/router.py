"""Which endpoint takes a job."""

from collections.abc import Collection, Iterable

from stoker_orchestrator.domain.model import Endpoint, Leaving

_AS_FAST = 1.5
"""Paces below this are called equal: they differ by chance."""


def choose(endpoints: Iterable[Endpoint], cost: float, excluded: Collection[str] = ()) -> Endpoint | None:
    """The endpoint with a free slot that has done a job of this declared cost first; None where no slot is free.

    What lies ahead on an endpoint is the declared work in flight, weighed with its pace. One that is about to retire is taken only
    where no other is free. Among equals the one that holds fewer jobs is taken, then the first. `excluded` are ids that this job
    must not meet again, unless they have recovered meanwhile.
    """
    best, best_rank = None, (False, 0.0, 0)
    for endpoint in endpoints:
        if endpoint.in_flight >= endpoint.capacity or not endpoint.serving:
            continue
        if endpoint.id in excluded and not endpoint.recovered:
            continue
        pace = endpoint.pace if endpoint.pace > _AS_FAST else 1.0
        rank = (endpoint.leaving is not Leaving.STAYS, (endpoint.work + cost) * pace, endpoint.in_flight)
        if best is None or rank < best_rank:
            best, best_rank = endpoint, rank
    return best
