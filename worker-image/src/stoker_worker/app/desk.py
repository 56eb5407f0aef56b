"""What the event loop and the model's thread share, behind one lock: the line, its jobs and the batch that runs.

The thread takes its next batch itself as soon as one is settled, so that the card does not wait for the event loop.
"""

import asyncio
import itertools
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stoker_worker.domain.line import Entry, Line, Piece, Refusal
from stoker_worker.domain.row_limits import RowLimits
from stoker_worker.engine.protocol import (
    CancelledError,
    EngineError,
    Footprint,
    Made,
    Outcome,
    OutOfMemoryError,
    Output,
    Row,
    Task,
)


@dataclass(slots=True, eq=False)
class Turn:
    """A job on its way: its rows, what was made of them so far, and which were blackened. `gone`: its caller is."""

    ticket: int
    task: Task
    rows: list[Row]
    done: asyncio.Future[Output]
    queued_at: float
    made: dict[int, Made] = field(default_factory=dict)
    nsfw: frozenset[int] = frozenset()
    begun: bool = False
    gone: bool = False

    def output(self) -> Output:
        """All pictures, in the order of the rows."""
        pictures = [picture for index in range(len(self.rows)) for picture in self.made[index]]
        return Output(pictures, [row.seed for row in self.rows], self.nsfw)


class BatchEnd(StrEnum):
    """How a batch ended."""

    DONE = "done"
    OOM_HALVED = "oom_halved"
    """Memory ran out; its rows run again in smaller batches."""
    ISOLATED = "isolated"
    """It failed as a whole; its rows run again one by one."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Its one row failed."""


class Batch:
    """Rows that run together; the engine's ear on the scheduler (`Steps`)."""

    def __init__(self, number: int, key: Hashable, pieces: Sequence[Piece], turns: Sequence[Turn]) -> None:
        self.number = number
        self.key = key
        self.pieces = pieces
        self.turns = turns
        self.rows = [turn.rows[piece.index] for piece, turn in zip(pieces, turns, strict=True)]
        self.gone: frozenset[int] = frozenset()
        self.steps = 0

    def stepped(self) -> frozenset[int]:
        """After each step, on the model's thread: the rows without callers. Raises CancelledError when no row has one."""
        self.steps += 1
        self.check()
        return self.gone

    def check(self) -> None:
        """Raises CancelledError when no row has a caller."""
        if len(self.gone) == len(self.rows):
            message = "the callers are gone"
            raise CancelledError(message)

    def leave(self, ticket: int) -> None:
        """The rows of one job have lost their caller."""
        self.gone |= {index for index, piece in enumerate(self.pieces) if piece.ticket == ticket}


Ending = tuple[Turn, Output | Exception | None]
"""A job that is over, and what became of it; None where nobody wants to know."""


class Desk:
    """Jobs come in on the event loop, batches go out to the model's thread and come back from there."""

    def __init__(self, capacity: int, max_batch: int) -> None:
        self.capacity = capacity
        self.running: Batch | None = None
        self._line = Line(capacity)
        self._limits = RowLimits(max_batch)
        self._weights = 0
        self._steps = 0
        self._turns: dict[int, Turn] = {}
        self._changed = threading.Condition()
        self._numbers = itertools.count()

    @property
    def in_flight(self) -> int:
        """Jobs in the line and running."""
        return self._line.in_flight

    @property
    def steps(self) -> int:
        """Steps of all batches so far."""
        with self._changed:
            return self._steps + (self.running.steps if self.running is not None else 0)

    def loaded(self, footprint: Footprint) -> None:
        """The model is in memory."""
        self._weights = footprint.weights
        self._limits.loaded(footprint.weights, footprint.budget)

    def admit(self, turn: Turn, key: Hashable, cost: float) -> Refusal | None:
        """Take a job into the line, its rows `cost` units each, or say why not."""
        with self._changed:
            refusal = self._line.admit(Entry(turn.ticket, key, len(turn.rows), cost, turn.task.deadline))
            if refusal is None:
                self._turns[turn.ticket] = turn
                self._changed.notify()
            return refusal

    def leave(self, turn: Turn) -> bool:
        """A job's caller is gone. True when the job is over; else it is once its batch has settled."""
        with self._changed:
            turn.gone = True
            if not self._line.withdraw(turn.ticket):
                if self.running is not None:
                    self.running.leave(turn.ticket)
                return False
            self._turns.pop(turn.ticket, None)
            return True

    def expire(self, now: float) -> list[Turn]:
        """Drop the jobs whose caller's time is over and that have not begun."""
        with self._changed:
            return [self._turns.pop(ticket) for ticket in self._line.expire(now)]

    def abandon(self) -> list[Turn]:
        """The engine is lost: drop all jobs but those of the batch that runs, and return them."""
        with self._changed:
            lost = {piece.ticket for piece in self._line.running}
            spared = [turn for ticket, turn in self._turns.items() if ticket not in lost]
            for turn in spared:
                self._line.drop(turn.ticket)
                del self._turns[turn.ticket]
            return spared

    def take(self, seconds: float | None) -> Batch | None:
        """On the model's thread: the next batch, as soon as there is one; None when none has come for so many seconds."""
        with self._changed:
            while (found := self._line.start(self._limits.of)) is None:
                if not self._changed.wait(seconds):
                    return None
            key, pieces = found
            turns = [self._turns[piece.ticket] for piece in pieces]
            self.running = Batch(next(self._numbers), key, pieces, turns)
            return self.running

    def settle(self, batch: Batch, outcome: Outcome | Exception, seconds: float) -> tuple[BatchEnd, list[Ending]]:
        """On the model's thread: a batch has run, for so long. Tells how it ended, and which jobs are over with it."""
        with self._changed:
            self.running = None
            self._steps += batch.steps
            self._line.finish()
            end = _end(batch, outcome)
            self._learn(batch, outcome, seconds)
            return end, self._after(batch, outcome, end)

    def limit(self, key: Hashable) -> int:
        """The most rows of the next batch of `key`."""
        with self._changed:
            return self._limits.of(key)

    def _learn(self, batch: Batch, outcome: Outcome | Exception, seconds: float) -> None:
        rows = len(batch.rows)
        if isinstance(outcome, OutOfMemoryError):
            self._limits.too_many(batch.key, rows)
        elif isinstance(outcome, Outcome):
            self._limits.used(batch.key, rows, outcome.peak_bytes - self._weights)
            if not batch.gone:
                self._limits.took(batch.key, rows, seconds)

    def _after(self, batch: Batch, outcome: Outcome | Exception, end: BatchEnd) -> list[Ending]:
        endings: list[Ending] = [self._over(turn, None) for turn in dict.fromkeys(batch.turns) if turn.gone]
        if isinstance(outcome, Outcome):
            for row, (piece, turn, made) in enumerate(zip(batch.pieces, batch.turns, outcome.rows, strict=True)):
                if row in outcome.nsfw:
                    turn.nsfw |= {piece.index}
                endings += self._row_over(piece, turn, made)
            return endings
        waited_for = [piece for piece in batch.pieces if piece.ticket in self._turns]
        if end in (BatchEnd.OOM_HALVED, BatchEnd.ISOLATED):
            self._line.again(waited_for, alone=end is BatchEnd.ISOLATED)
            return endings
        return endings + [self._over(self._turns[piece.ticket], outcome) for piece in waited_for]

    def _row_over(self, piece: Piece, turn: Turn, made: Made | EngineError) -> list[Ending]:
        if piece.ticket not in self._turns:
            return []
        if isinstance(made, EngineError):
            return [self._over(turn, made)]
        turn.made[piece.index] = made
        return [self._over(turn, turn.output())] if self._line.made(piece.ticket) else []

    def _over(self, turn: Turn, result: Output | Exception | None) -> Ending:
        self._line.drop(turn.ticket)
        self._turns.pop(turn.ticket, None)
        return turn, result


def _end(batch: Batch, outcome: Outcome | Exception) -> BatchEnd:
    """What becomes of a batch with this outcome."""
    if isinstance(outcome, Outcome):
        return BatchEnd.DONE
    if len(batch.gone) == len(batch.rows):
        return BatchEnd.CANCELLED
    if len(batch.rows) == 1:
        return BatchEnd.FAILED
    return BatchEnd.OOM_HALVED if isinstance(outcome, OutOfMemoryError) else BatchEnd.ISOLATED
