"""Which of a few media types a caller would rather have (RFC 9110, section 12.5.1)."""

import math
from collections.abc import Collection, Iterator, Sequence

_NAMED, _OF_ITS_KIND, _ANY = 2, 1, 0


def preferred(accept: str, offers: Sequence[str], only_by_name: Collection[str] = ()) -> str:
    """The best of `offers` for a header Accept; the first where nothing fits or nothing is said.

    Equal weights are decided by what the caller named, in the caller's order, before what a wildcard covers, in the order of
    `offers`. No wildcard covers what is `only_by_name`.
    """
    ranges = list(_ranges(accept))
    ranks = {offer: _rank(offer, ranges, by_name=offer in only_by_name) for offer in offers}
    best = max(offers, key=ranks.__getitem__)
    return best if ranks[best][0] > 0 else offers[0]


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Each media range and its weight. One whose weight makes no sense counts for nothing."""
    for part in accept.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        weights = [value.strip() for key, _, value in (each.partition("=") for each in parameters) if key.strip() == "q"]
        yield name, _weight(weights[0]) if weights else 1.0


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if math.isfinite(weight) and 0 <= weight <= 1 else 0.0


def _rank(offer: str, ranges: list[tuple[str, float]], *, by_name: bool) -> tuple[float, int, int]:
    """Weight, how closely it was named, and how early. The closest range decides about the weight."""
    kind = offer.partition("/")[0]
    closeness = {offer: _NAMED} if by_name else {offer: _NAMED, f"{kind}/*": _OF_ITS_KIND, "*/*": _ANY}
    fitting = [(closeness[name], -place, weight) for place, (name, weight) in enumerate(ranges) if name in closeness]
    if not fitting:
        return 0.0, 0, 0
    close, place, weight = max(fitting)
    return weight, close, place if close == _NAMED else -len(ranges)
