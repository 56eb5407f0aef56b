"""The queue of keys to reconcile, without I/O and with the time passed in.

A key stands in it once. A key that is being reconciled is not given out again before that ends; when it was added
meanwhile, it comes again afterwards. Failures of a key double its pause up to a bound, a success forgets them.
"""

import heapq
import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between reconciles of one key: at least `spacing`; after failures `first`, doubled each time up to `longest`."""

    spacing: float = 0.1
    first: float = 0.5
    longest: float = 60.0

    def after(self, failures: int, chance: float) -> float:
        """The pause after so many failures. `chance`, from 0 to 1, spreads it over the upper half."""
        pause = min(self.longest, self.first * 2.0 ** min(failures - 1, 32))
        return pause * (0.5 + chance / 2)


class KeyQueue(Generic[K]):
    """Keys, each with the moment from which on it may be taken. `chance` draws a number from 0 to 1."""

    def __init__(self, pauses: Pauses, chance: Callable[[], float]) -> None:
        self._pauses = pauses
        self._chance = chance
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._running: dict[K, float] = {}
        self._dirty: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._started: dict[K, float] = {}

    def __len__(self) -> int:
        """Keys that wait, or will come again."""
        return len(self._due) + len(self._dirty)

    @property
    def running(self) -> Mapping[K, float]:
        """The keys that are being reconciled, with the moment each began."""
        return self._running

    def add(self, keys: Iterable[K], now: float, delay: float = 0.0) -> None:
        """Ask for a reconcile of each key, not before `delay` seconds have passed. The earliest wish counts."""
        for key in keys:
            due = max(now + delay, self._started.get(key, float("-inf")) + self._pauses.spacing)
            if key in self._running:
                self._dirty[key] = min(due, self._dirty.get(key, due))
            else:
                self._enqueue(key, due)

    def _enqueue(self, key: K, due: float) -> None:
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))

    def next_due(self) -> float | None:
        """The moment from which on there is something to take; None while nothing waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> K | None:
        """The key that has been due the longest; it is being reconciled until `done` or `failed`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due[key]
        self._started = {each: began for each, began in self._started.items() if began + self._pauses.spacing > now}
        self._running[key] = self._started[key] = now
        return key

    def done(self, key: K, now: float, again_after: float | None = None) -> None:
        """The key was reconciled. `again_after` seconds later it comes again, or earlier when it is added."""
        self._failures.pop(key, None)
        self._release(key, now)
        if again_after is not None:
            self.add((key,), now, again_after)

    def failed(self, key: K, now: float) -> float:
        """The reconcile failed: the key comes again after a pause, which is returned in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        pause = self._pauses.after(self._failures[key], self._chance())
        self._release(key, now)
        self.add((key,), now, pause)
        return pause

    def _release(self, key: K, now: float) -> None:
        del self._running[key]
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            self._enqueue(key, max(dirty, now))
