"""Which endpoint takes a job."""

from collections.abc import Collection, Iterable

from stoker_orchestrator.domain.model import Endpoint, EndpointState


def choose(endpoints: Iterable[Endpoint], excluded: Collection[str] = ()) -> Endpoint | None:
    """The endpoint with a free slot and the least declared work in flight; None where no slot is free.

    Among equals the one that holds fewer jobs is taken, then the first. `excluded` are ids that this job must not meet again.
    """
    best = None
    for endpoint in endpoints:
        if endpoint.state is not EndpointState.READY or endpoint.in_flight >= endpoint.capacity or endpoint.id in excluded:
            continue
        if best is None or (endpoint.work, endpoint.in_flight) < (best.work, best.in_flight):
            best = endpoint
    return best
