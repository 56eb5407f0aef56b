"""The worker's line: jobs wait in lanes, one for each key, and what waits in one lane makes a batch.

Between lanes the turn goes by deficit round robin over declared cost (Shreedhar and Varghese, 1995,
https://doi.org/10.1145/217391.217453) with a quantum next to nothing: all lanes earn credit alike, the first that can pay for its
next batch has the turn, and pays. So cheap jobs wait for one batch of a dear lane and not for all that stands in it; and while a
dear lane saves up for its batch, each other lane gets about as much as that batch costs, and no more.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Refusal(StrEnum):
    """Why a job was not taken."""

    LOADING = "worker is loading"
    FULL = "worker is full"
    DRAINING = "worker is draining"
    FAILED = "worker has failed"
    LATE = "the caller's time is over"


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that wants into the line: `rows` rows with one key, each of `cost` declared units (more than 0).

    `ticket` is the caller's number for it, used once and growing; `deadline` is on the clock of `Line.expire`.
    """

    ticket: int
    key: Hashable
    rows: int
    cost: float
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One row of a job, by its index; `alone`: it runs without others."""

    ticket: int
    index: int
    alone: bool = False


@dataclass(slots=True)
class _Seat:
    """A job in the line or running. `left` counts its rows that are not made yet."""

    entry: Entry
    left: int
    begun: bool = False


@dataclass(slots=True)
class _Lane:
    """The rows of one key that wait, in order, and what they have earned. Rows that run alone stand before all others."""

    cost: float
    pieces: deque[Piece] = field(default_factory=deque)
    credit: float = 0.0

    def size(self, most: int) -> int:
        """Rows of the next batch, of which there may be `most`."""
        return 1 if self.pieces[0].alone else max(1, min(most, len(self.pieces)))


class Line:
    """At most `capacity` jobs wait and run. One batch runs at a time; it never waits for company once the model is free."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.running: tuple[Piece, ...] = ()
        self._seats: dict[int, _Seat] = {}
        self._lanes: dict[Hashable, _Lane] = {}

    @property
    def in_flight(self) -> int:
        """Jobs in the line and running."""
        return len(self._seats)

    def admit(self, entry: Entry) -> Refusal | None:
        """Take a job into the line, or say why not."""
        if self.in_flight >= self.capacity:
            return Refusal.FULL
        self._seats[entry.ticket] = _Seat(entry, entry.rows)
        lane = self._lanes.setdefault(entry.key, _Lane(entry.cost))
        lane.pieces.extend(Piece(entry.ticket, index) for index in range(entry.rows))
        return None

    def start(self, most: Callable[[Hashable], int]) -> tuple[Hashable, tuple[Piece, ...]] | None:
        """The batch whose turn it is now, and its key; None while one runs or nobody waits. `most` rows of a key go together."""
        if self.running or not self._lanes:
            return None
        key, size = self._turn({key: lane.size(most(key)) for key, lane in self._lanes.items()})
        pieces = self._lanes[key].pieces
        self.running = tuple(pieces.popleft() for _ in range(size))
        if not pieces:
            del self._lanes[key]
        for piece in self.running:
            self._seats[piece.ticket].begun = True
        return key, self.running

    def finish(self) -> None:
        """The batch has run to its end, whatever the end was; what became of its rows is told by `made`, `again` and `drop`."""
        self.running = ()

    def made(self, ticket: int) -> bool:
        """One more row of a job is there. True when that was the last: the job has left."""
        seat = self._seats[ticket]
        seat.left -= 1
        if seat.left:
            return False
        del self._seats[ticket]
        return True

    def again(self, pieces: Iterable[Piece], *, alone: bool) -> None:
        """Rows that ran to no end go back to the front of their lane, their turn paid for; `alone`: now without each other."""
        for piece in reversed(list(pieces)):
            entry = self._seats[piece.ticket].entry
            lane = self._lanes.setdefault(entry.key, _Lane(entry.cost))
            lane.pieces.appendleft(replace(piece, alone=alone))
            lane.credit += lane.cost

    def drop(self, ticket: int) -> None:
        """A job is over, by failure or because it is not wanted: its rows leave the line. One that runs is the caller's to stop."""
        seat = self._seats.pop(ticket, None)
        if seat is not None:
            self._leave(seat.entry)

    def withdraw(self, ticket: int) -> bool:
        """A job's caller is gone. True when it has left; False where rows of it run, which must be stopped before it is dropped."""
        seat = self._seats.get(ticket)
        if seat is None:
            return True
        if any(piece.ticket == ticket for piece in self.running):
            self._leave(seat.entry)
            return False
        self.drop(ticket)
        return True

    def expire(self, now: float) -> list[int]:
        """Drop the jobs whose caller's time is over and that have not begun; returns their tickets."""
        late = [
            ticket
            for ticket, seat in self._seats.items()
            if not seat.begun and seat.entry.deadline is not None and seat.entry.deadline <= now
        ]
        for ticket in late:
            self.drop(ticket)
        return late

    def _turn(self, sizes: dict[Hashable, int]) -> tuple[Hashable, int]:
        """Let all lanes earn until one can pay for its next batch; it pays. Of two the one whose first job came first."""
        missing = {key: sizes[key] * lane.cost - lane.credit for key, lane in self._lanes.items()}
        key = min(missing, key=lambda each: (missing[each], self._lanes[each].pieces[0].ticket))
        earned = max(0.0, missing[key])
        for lane in self._lanes.values():
            lane.credit += earned
        self._lanes[key].credit -= sizes[key] * self._lanes[key].cost
        return key, sizes[key]

    def _leave(self, entry: Entry) -> None:
        lane = self._lanes.get(entry.key)
        if lane is None:
            return
        lane.pieces = deque(piece for piece in lane.pieces if piece.ticket != entry.ticket)
        if not lane.pieces:
            del self._lanes[entry.key]
