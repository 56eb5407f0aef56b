"""Whether one result is better than another, or whether chance alone may have made the difference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from stoker_worker.bench.document import Figures, Result
from stoker_worker.bench.summary import PIECES, thinned

LEAST_EFFECT = 0.02
"""Smaller differences are called noise: a clock's frequency or a neighbour moves a mean by as much from run to run."""
LEAST_RUNS = 5
"""With fewer measurements on a side nothing is said."""
LEAST_FOR_TAIL = 20
"""With fewer, the 95th percentile is the slowest one."""
_DRAWS = 1000
_VALUES = 2000
"""Values that are drawn from at most, at equal distances of all."""
_INTERVAL = (2.5, 97.5)

_Values = NDArray[np.float64]


class Verdict(StrEnum):
    """What a ratio says."""

    FASTER = "faster"
    SLOWER = "slower"
    LESS = "less"
    MORE = "more"
    NOISE = "within noise"
    ONCE = "measured once"
    FEW = "too few to tell"


class Measure(StrEnum):
    """What is compared."""

    MEAN = "mean"
    P50 = "p50"
    P95 = "p95"
    RATE = "rate"
    LOAD = "load"
    MEMORY = "memory"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of two results. `ratio` is the second divided by the first; `low` and `high` bound it with 95 % confidence."""

    measure: Measure
    first: float
    second: float
    ratio: float | None
    verdict: Verdict
    low: float | None = None
    high: float | None = None

    @property
    def worse(self) -> float:
        """How many times worse the second is; 1 where it is better, or where chance may have made the difference."""
        if self.verdict is Verdict.MORE and self.measure is Measure.FAILED:
            return float("inf")
        if self.ratio is None or self.verdict not in {Verdict.SLOWER, Verdict.MORE}:
            return 1.0
        return 1 / self.ratio if self.measure is Measure.RATE else self.ratio


def compare(first: Result, second: Result) -> list[Compared]:
    """Every measure that both results have."""
    one, two = first.figures, second.figures
    found = [
        _latency(Measure.MEAN, one, two, lambda values: values.mean(axis=-1), LEAST_RUNS),
        _latency(Measure.P50, one, two, _quantile(0.5), LEAST_RUNS),
        _latency(Measure.P95, one, two, _quantile(0.95), LEAST_FOR_TAIL),
        _rate(one, two),
    ]
    if first.load is not None and second.load is not None:
        found.append(_once(Measure.LOAD, first.load.seconds, second.load.seconds))
    if first.memory is not None and second.memory is not None and first.memory.of == second.memory.of:
        found.append(_once(Measure.MEMORY, first.memory.peak.allocated, second.memory.peak.allocated))
    found.append(_failed(one, two))
    return [each for each in found if each is not None]


def _latency(measure: Measure, one: Figures, two: Figures, of: Callable[[_Values], _Values], least: int) -> Compared | None:
    if not one.latencies or not two.latencies:
        return None
    first, second = np.array(one.latencies), np.array(two.latencies)
    values = float(of(first)), float(of(second))
    if min(len(first), len(second)) < least:
        return Compared(measure, *values, _ratio(*values), Verdict.FEW)
    chance = np.random.default_rng(0)
    ratios = of(_drawn(second, chance)) / np.maximum(of(_drawn(first, chance)), np.finfo(float).tiny)
    return _judged(measure, values, ratios)


def _drawn(values: _Values, chance: np.random.Generator) -> _Values:
    """Runs put together of pieces of this one, by chance: draws × count (circular block bootstrap, Politis and Romano 1992).

    Pieces, because neighbours are alike: a job that waited long stood in a line with others. One by one they would seem to be as
    many witnesses, and every disturbance of a run would look certain.
    """
    kept = np.array(thinned(list(values), _VALUES))
    length = -(-len(kept) // PIECES)
    starts = chance.integers(0, len(kept), size=(_DRAWS, -(-len(kept) // length), 1))
    drawn: _Values = kept[(starts + np.arange(length)) % len(kept)].reshape(_DRAWS, -1)
    return drawn


def _quantile(share: float) -> Callable[[_Values], _Values]:
    def of(values: _Values) -> _Values:
        return np.quantile(values, share, axis=-1, method="inverted_cdf")

    return of


def _rate(one: Figures, two: Figures) -> Compared | None:
    """Pictures a second, by the pieces of each run."""
    values = one.pictures_per_second, two.pictures_per_second
    if not all(values):
        return None
    if min(len(one.pace), len(two.pace)) < LEAST_RUNS:
        return Compared(Measure.RATE, *values, _ratio(*values), Verdict.FEW)
    chance = np.random.default_rng(0)
    first, second = _paces(one, chance), _paces(two, chance)
    return _judged(Measure.RATE, values, second / np.maximum(first, np.finfo(float).tiny))


def _paces(figures: Figures, chance: np.random.Generator) -> _Values:
    """Rates of runs that are put together of pieces of this one, by chance."""
    pieces = chance.integers(0, len(figures.pace), size=(_DRAWS, len(figures.pace)))
    pictures, seconds = (
        np.array([getattr(piece, name) for piece in figures.pace], dtype=np.float64) for name in ("pictures", "seconds")
    )
    rates: _Values = pictures[pieces].sum(axis=-1) / np.maximum(seconds[pieces].sum(axis=-1), 1e-9)
    return rates


def _judged(measure: Measure, values: tuple[float, float], ratios: _Values) -> Compared:
    ratio = _ratio(*values)
    low, high = (float(each) for each in np.percentile(ratios, _INTERVAL))
    verdict = Verdict.NOISE
    if ratio is not None and abs(ratio - 1) >= LEAST_EFFECT and not low <= 1 <= high:
        more = ratio > 1
        verdict = Verdict.FASTER if more is (measure is Measure.RATE) else Verdict.SLOWER
    return Compared(measure, *values, ratio, verdict, low, high)


def _once(measure: Measure, first: float, second: float) -> Compared | None:
    if not first or not second:
        return None
    return Compared(measure, first, second, _ratio(first, second), Verdict.ONCE)


def _failed(one: Figures, two: Figures) -> Compared:
    """The share of jobs that failed."""
    chance = np.random.default_rng(0)
    (first, drawn_first), (second, drawn_second) = (_shares(figures, chance) for figures in (one, two))
    low, high = np.percentile(drawn_second - drawn_first, _INTERVAL)
    verdict = Verdict.MORE if low > 0 else Verdict.LESS if high < 0 else Verdict.NOISE
    return Compared(Measure.FAILED, first, second, None, verdict)


def _shares(figures: Figures, chance: np.random.Generator) -> tuple[float, _Values]:
    counts = figures.counts
    jobs = max(1, counts.done + counts.failed)
    share = counts.failed / jobs
    return share, chance.binomial(jobs, share, size=_DRAWS) / jobs


def _ratio(first: float, second: float) -> float | None:
    return second / first if first else None


def differences(first: Result, second: Result) -> list[str]:
    """What else is not the same: then the figures say something of that as well."""
    apart = _apart("", first.target.model_dump(mode="json"), second.target.model_dump(mode="json"))
    return apart + _apart("", first.settings.model_dump(mode="json"), second.settings.model_dump(mode="json"))


def _apart(where: str, one: object, two: object) -> list[str]:
    if one == two:
        return []
    if isinstance(one, dict) and isinstance(two, dict):
        names = dict.fromkeys([*one, *two])
        return [line for name in names for line in _apart(f"{where} {name}".strip(), one.get(name), two.get(name))]
    if _items(one) and _items(two) and len(one) == len(two):  # type: ignore[arg-type]
        pairs: Sequence[tuple[object, object]] = list(zip(one, two, strict=True))  # type: ignore[call-overload]
        return [line for each in pairs for line in _apart(where, *each)]
    return [f"{where}: {_said(one)} → {_said(two)}"]


def _items(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)
