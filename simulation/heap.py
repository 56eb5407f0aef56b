"""Virtual time: a heap of what will happen, and the only source of chance."""

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

Act = Callable[..., None]


class Heap:
    """What happens next. Things due at the same moment happen in the order in which they were asked for."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        """Seconds since the world began."""
        self.steps = 0
        self.chance = random.Random(seed)
        self._entries: list[tuple[float, int, Act, tuple[Any, ...]]] = []
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def at(self, when: float, act: Act, *given: Any) -> None:
        """Call `act` at a moment, now where that has passed."""
        heapq.heappush(self._entries, (max(when, self.now), next(self._count), act, given))

    def after(self, seconds: float, act: Act, *given: Any) -> None:
        """Call `act` in so many seconds."""
        heapq.heappush(self._entries, (self.now + seconds, next(self._count), act, given))

    def run(self, until: float, after_each: Callable[[], None]) -> None:
        """Let everything happen that is due until then, with a call of `after_each` after each thing."""
        entries, pop = self._entries, heapq.heappop
        while entries and entries[0][0] <= until:
            self.now, _, act, given = pop(entries)
            act(*given)
            self.steps += 1
            after_each()
        self.now = until
