"""How many rows of a key run in one batch: no more than memory holds, and no more than is worth it.

Three bounds, each learnt from the batches that ran:

- memory, as it was measured: what a row needs beside the weights, times rows, stays within the budget less a reserve;
- memory, as it ran out: half of what was too many, for as long as the worker lives (what else is on the card may come back);
- time: where a larger batch makes a row no faster, as with large pictures that fill the card one by one, it only lets everybody
  wait longer, and the smaller size is kept.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import pairwise

from stoker_worker.domain.remembered import Remembered

RESERVE = 0.03
"""Share of the budget that stays free: an allocator's blocks do not fit each other exactly."""
GAIN = 0.05
"""A row must get faster by this share for a size class to be kept over the one below."""
TRIALS = 2
"""So many batches of a size class are seen before it is judged, by the fastest: first ones compile, capture and warm up."""
RENEWED_AFTER = 200
"""Batches of a key after which its times are learnt anew, for an hour's noise must not decide for ever."""


@dataclass(slots=True)
class _Pace:
    """Batches of one size class: how many, and the seconds of one row in the fastest."""

    batches: int = 0
    seconds: float = float("inf")


@dataclass(slots=True)
class _Learnt:
    """What the batches of one key have shown. `measured` is the largest batch whose memory is known."""

    ceiling: int
    measured: int = 0
    row_bytes: float = 0.0
    timed: int = 0
    paces: dict[int, _Pace] = field(default_factory=dict)


class RowLimits:
    """The most rows of one batch by key; `most` where nothing speaks for fewer."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._room: float | None = None
        self._keys: Remembered[_Learnt] = Remembered(lambda: _Learnt(most))

    def loaded(self, weights: int, budget: int | None) -> None:
        """The model is in memory: so many bytes of weights, of so many that may be used (None, or no weights: not known)."""
        self._room = budget * (1 - RESERVE) - weights if budget is not None and weights else None

    def of(self, key: Hashable) -> int:
        """The most rows that the next batch of `key` may have, at least 1."""
        learnt = self._keys[key]
        return max(1, min(learnt.ceiling, self._fitting(learnt), _worthwhile(learnt.paces, self.most)))

    def used(self, key: Hashable, rows: int, activations: int) -> None:
        """A batch held so many bytes beside the weights. From a larger batch less is laid to each row, and nearer the truth."""
        learnt = self._keys[key]
        if activations <= 0 or rows < learnt.measured:
            return
        each = activations / rows
        learnt.row_bytes = max(each, learnt.row_bytes) if rows == learnt.measured else each
        learnt.measured = rows

    def took(self, key: Hashable, rows: int, seconds: float) -> None:
        """A batch whose rows all ran to their end took so long."""
        learnt = self._keys[key]
        learnt.timed += 1
        if learnt.timed > RENEWED_AFTER:
            learnt.timed, learnt.paces = 1, {}
        pace = learnt.paces.setdefault(_size_class(rows), _Pace())
        pace.batches += 1
        pace.seconds = min(pace.seconds, seconds / rows)

    def too_many(self, key: Hashable, rows: int) -> None:
        """Memory ran out with so many rows."""
        learnt = self._keys[key]
        learnt.ceiling = min(learnt.ceiling, max(1, rows // 2))

    def _fitting(self, learnt: _Learnt) -> int:
        if self._room is None or not learnt.row_bytes:
            return self.most
        return int(self._room / learnt.row_bytes)


def _size_class(rows: int) -> int:
    """The power of two that is not above `rows`."""
    return 1 << rows.bit_length() - 1


def _worthwhile(paces: dict[int, _Pace], most: int) -> int:
    """The largest size class up to which each made a row faster than the one before; `most` where none is known not to."""
    judged = sorted((size, pace.seconds) for size, pace in paces.items() if pace.batches >= TRIALS)
    for (size, seconds), (_, larger_seconds) in pairwise(judged):
        if larger_seconds > seconds * (1 - GAIN):
            return size
    return most
