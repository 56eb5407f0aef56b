"""Timers that cost next to nothing to set and to cancel, and are late by up to one tick.

Each job sets some and needs almost none of them; the event loop's own timers would be a tenth of the job path.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable

log = logging.getLogger(__name__)

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
        due = [(key, timer) for key, timer in self._set.items() if timer[0] <= now]
        for key, timer in due:
            if self._set.get(key) is timer:  # none that acted just now has cancelled it, or set it anew
                del self._set[key]
                _act(timer[1])
        self._ticking = bool(self._set)
        if self._ticking:
            loop.call_later(TICK_SECONDS, self._tick)


def _act(act: Callable[[], None]) -> None:
    """One that fails takes none of the others with it."""
    try:
        act()
    except Exception:
        log.exception("a timer failed in a way that was not foreseen")
