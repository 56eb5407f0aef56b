"""The worker's line: at most `capacity` jobs are in it, one of them runs."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class Refusal(StrEnum):
    """Why a job was not taken."""

    LOADING = "worker is loading"
    FULL = "worker is full"
    DRAINING = "worker is draining"
    FAILED = "worker has failed"


@dataclass(slots=True)
class JobQueue:
    """First come, first served. Tickets are the caller's numbers; each may be used once."""

    capacity: int
    waiting: deque[int] = field(default_factory=deque)
    running: int | None = None

    @property
    def in_flight(self) -> int:
        """Jobs in the line, the running one included."""
        return len(self.waiting) + (self.running is not None)

    def admit(self, ticket: int) -> Refusal | None:
        """Take `ticket` into the line, or say why not."""
        if self.in_flight >= self.capacity:
            return Refusal.FULL
        self.waiting.append(ticket)
        return None

    def start(self) -> int | None:
        """The ticket whose turn it is now; None while another runs or nobody waits."""
        if self.running is not None or not self.waiting:
            return None
        self.running = self.waiting.popleft()
        return self.running

    def finish(self, ticket: int) -> None:
        """`ticket` has run to its end, whatever the end was."""
        if self.running == ticket:
            self.running = None

    def withdraw(self, ticket: int) -> bool:
        """`ticket`'s caller is gone. True when it had not begun and has left the line; a running job must be stopped."""
        if ticket not in self.waiting:
            return False
        self.waiting.remove(ticket)
        return True
