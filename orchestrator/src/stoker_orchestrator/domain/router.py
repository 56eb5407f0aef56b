"""Which endpoint takes a job."""

from collections.abc import Collection, Iterable

from stoker_orchestrator.domain.model import Endpoint


def choose(endpoints: Iterable[Endpoint], excluded: Collection[str] = ()) -> Endpoint | None:
    """The endpoint with a free slot and the least declared work in flight; None where no slot is free.

    Among equals the one that holds fewer jobs is taken, then the first. `excluded` are ids that this job must not meet again.
    """
    open_to_it = [endpoint for endpoint in endpoints if endpoint.free and endpoint.id not in excluded]
    return min(open_to_it, key=lambda endpoint: (endpoint.work, endpoint.in_flight), default=None)
