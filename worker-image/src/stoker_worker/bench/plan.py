"""What is sent when: the same seed gives the same jobs at the same times."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stoker_contracts.jobs import seed_after
from stoker_worker.bench.jobs import Kind

Arrivals = Literal["poisson", "uniform"]

_CHOICES, _TIMES = 1, 2
"""Streams of chance, so that another mix does not move the times."""
_AT_ONCE = 256
"""How many numbers are drawn in one call."""


@dataclass(frozen=True, slots=True)
class Load:
    """How hard is pressed.

    Closed loop: `concurrency` callers, each sends its next job when it has the answer. Open loop, where `rate` (jobs a second) is
    set: jobs are due by the clock, whether or not the earlier ones are done. `runs` jobs, or as many as begin within `duration`
    seconds, whichever ends first.
    """

    runs: int | None = None
    duration: float | None = None
    concurrency: int = 1
    rate: float | None = None
    arrivals: Arrivals = "poisson"


@dataclass(frozen=True, slots=True)
class Planned:
    """One job to send; `due` is in seconds after the start, None where it is sent when a caller is free."""

    number: int
    kind: Kind
    seed: int
    due: float | None = None


def planned(kinds: Sequence[Kind], load: Load, seed: int) -> Iterator[Planned]:
    """The jobs in order; without an end where a closed loop has a duration alone."""
    times = due_times(load.rate, load.arrivals, seed) if load.rate is not None else itertools.repeat(None)
    for number, kind, due in zip(itertools.count(), chosen(kinds, seed), times, strict=False):
        over = due is not None and load.duration is not None and due >= load.duration
        if over or number == load.runs:
            return
        yield Planned(number, kind, seed_after(seed, number * kind.rows), due)


def chosen(kinds: Sequence[Kind], seed: int) -> Iterator[Kind]:
    """Kinds by chance, as often as their weights say."""
    chance = np.random.default_rng((seed, _CHOICES))
    weights = np.array([kind.weight for kind in kinds])
    while True:
        for index in chance.choice(len(kinds), size=_AT_ONCE, p=weights / weights.sum()):
            yield kinds[index]


def due_times(rate: float, arrivals: Arrivals, seed: int) -> Iterator[float]:
    """Seconds after the start: at equal distances from 0 on, or with the gaps of a Poisson process."""
    if arrivals == "uniform":
        yield from (number / rate for number in itertools.count())
    chance = np.random.default_rng((seed, _TIMES))
    now = 0.0
    while True:
        for gap in chance.exponential(1 / rate, size=_AT_ONCE):
            now += float(gap)
            yield now
