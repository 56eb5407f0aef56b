"""When a job may be tried again: within a budget, never for what it does to its workers.

Retries in proportion to what is under way keep trouble from feeding itself ("Metastable Failures in the Wild", OSDI 2022).
"""

from collections import OrderedDict
from dataclasses import dataclass

SHARE = 0.1
FLOOR = 3
"""Retries under way at a time: a tenth of the jobs in flight, and so many more."""
WORKERS = 2
"""A job meets at most so many workers that it is lost on."""
QUARANTINE_SECONDS = 600.0
_REMEMBERED = 10_000


@dataclass(slots=True)
class RetryBudget:
    """How many second tries may be under way."""

    under_way: int = 0

    def take(self, in_flight: int) -> bool:
        """Begin a second try, if the budget for so many jobs in flight allows it; it must be given back."""
        if self.under_way >= FLOOR + SHARE * in_flight:
            return False
        self.under_way += 1
        return True

    def give_back(self) -> None:
        """A second try has ended."""
        self.under_way -= 1


class Quarantine:
    """Jobs that ended two workers, by a fingerprint of their model and body; sent again they are refused for a while."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def wary(self, now: float) -> bool:
        """Whether any job is still refused. Those that are no longer are forgotten, the first to be locked up first."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        return bool(self._until)

    def lock_up(self, fingerprint: bytes, now: float) -> None:
        """This job ended as many workers as a job may."""
        self._until[fingerprint] = now + QUARANTINE_SECONDS
        self._until.move_to_end(fingerprint)
        while len(self._until) > _REMEMBERED:
            self._until.popitem(last=False)

    def left(self, fingerprint: bytes, now: float) -> float:
        """Seconds for which this job is still refused; 0 where it is not."""
        until = self._until.get(fingerprint)
        if until is None:
            return 0.0
        if until <= now:
            del self._until[fingerprint]
            return 0.0
        return until - now
