"""Timers that cost next to nothing to set and to cancel, and are late by up to one tick.

Each job sets some and needs almost none of them; the event loop's own timers would be a tenth of the job path.
"""

import asyncio
from collections.abc import Callable, Hashable

TICK_SECONDS = 0.02


class CoarseTimers:
    """At most one timer for each key."""

    def __init__(self) -> None:
        self._set: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._ticking = False

    def start(self, key: Hashable, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in `seconds`, unless `cancel` comes first."""
        loop = asyncio.get_running_loop()
        self._set[key] = (loop.time() + seconds, act)
        if not self._ticking:
            self._ticking = True
            loop.call_later(TICK_SECONDS, self._tick)

    def cancel(self, key: Hashable) -> None:
        """Forget the timer of `key`, if there is one."""
        self._set.pop(key, None)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = [(key, act) for key, (when, act) in self._set.items() if when <= now]
        for key, act in due:
            del self._set[key]
            act()
        self._ticking = bool(self._set)
        if self._ticking:
            loop.call_later(TICK_SECONDS, self._tick)
