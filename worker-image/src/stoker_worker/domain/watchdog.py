"""Whether a batch that runs still gets on."""

from collections.abc import Hashable
from dataclasses import dataclass

from stoker_worker.domain.remembered import Remembered

TIMES = 20
"""A pause so many times as long as the longest one seen is no pause any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a batch is: its number, its key, and the steps that it has made. `least`: seconds that it may always stand still."""

    batch: int
    key: Hashable
    steps: int
    least: float = 0.0


@dataclass(slots=True)
class _Longest:
    """The longest pause that was seen, in seconds."""

    seconds: float = 0.0


class Watchdog:
    """Looked after every `interval` seconds. A batch may stand still for `patience` seconds, or `TIMES` its key's longest pause.

    Only time that was watched counts: when a look comes late, as after the whole process stood still, watching starts anew.
    """

    def __init__(self, patience: float, interval: float) -> None:
        self._patience = patience
        self._interval = interval
        self._longest: Remembered[_Longest] = Remembered(_Longest)
        self._looked: float | None = None
        self._seen: Progress | None = None
        self._still = 0.0

    def look(self, now: float, seen: Progress | None) -> float | None:
        """The seconds for which the batch has stood still, when that is too long; `seen` is None where none runs."""
        watched = now - self._looked if self._looked is not None else 0.0
        late = watched > 2 * self._interval
        before, self._seen, self._looked = self._seen, seen, now
        if before is None or late:
            self._still = 0.0
            return None
        self._still += watched
        if seen != before:
            longest = self._longest[before.key]
            longest.seconds = max(longest.seconds, self._still)
            self._still = 0.0
            return None
        allowed = max(self._patience, before.least, TIMES * self._longest[before.key].seconds)
        return self._still if self._still > allowed else None
