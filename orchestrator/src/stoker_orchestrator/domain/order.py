"""Who of those who wait is next: callers are served fairly, and of one caller's jobs the one with the lowest rank goes first.

Fairness is start-time fair queueing over declared cost (Goyal, Vin, Cheng 1996): a caller has a tag in virtual time, which moves
on by the cost of each of its jobs that is served, and the smallest tag is next. Who comes, or comes back, starts where service is.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field

_FEW = 64
"""So many callers without a job in line are remembered beside those who wait."""


@dataclass(slots=True)
class _Caller:
    """`jobs` are (rank, ticket), in order."""

    name: str
    tag: float
    jobs: list[tuple[float, int]] = field(default_factory=list)

    @property
    def turn(self) -> tuple[float, float, int]:
        """Its place among the callers."""
        return (self.tag, *self.jobs[0])


class FairOrder:
    """Jobs by ticket, in the order in which they are to be served."""

    def __init__(self) -> None:
        self._callers: dict[str, _Caller] = {}
        self._owners: dict[int, tuple[_Caller, float]] = {}
        self._turns: list[tuple[float, float, int]] = []
        self._virtual = 0.0
        self._ends: dict[str, float] = {}

    def first(self) -> int | None:
        """Who is next; None where nobody waits."""
        return self._turns[0][2] if self._turns else None

    def add(self, ticket: int, caller: str, rank: float) -> None:
        """A job waits."""
        owner = self._callers.get(caller)
        if owner is None:
            owner = self._callers[caller] = _Caller(caller, max(self._virtual, self._ends.pop(caller, 0.0)))
        self._owners[ticket] = owner, rank
        self._step_aside(owner)
        insort(owner.jobs, (rank, ticket))
        self._step_back(owner)

    def remove(self, ticket: int, cost: float = 0.0) -> None:
        """A job waits no longer: it was served and cost its caller so much, or it left."""
        owner, rank = self._owners.pop(ticket)
        self._step_aside(owner)
        if cost:
            self._virtual = max(self._virtual, owner.tag)
            owner.tag += cost
        del owner.jobs[bisect_left(owner.jobs, (rank, ticket))]
        self._step_back(owner)

    def rerank(self, rank: Callable[[int], float]) -> None:
        """The jobs have other ranks than thought, by ticket; callers keep their tags."""
        self._owners = {ticket: (owner, rank(ticket)) for ticket, (owner, _) in self._owners.items()}
        for caller in self._callers.values():
            caller.jobs = sorted((self._owners[ticket][1], ticket) for _, ticket in caller.jobs)
        self._turns = sorted(caller.turn for caller in self._callers.values())

    def _step_aside(self, owner: _Caller) -> None:
        if owner.jobs:
            del self._turns[bisect_left(self._turns, owner.turn)]

    def _step_back(self, owner: _Caller) -> None:
        if owner.jobs:
            insort(self._turns, owner.turn)
            return
        del self._callers[owner.name]
        self._ends[owner.name] = owner.tag
        self._forget_callers()

    def _forget_callers(self) -> None:
        """All when nobody waits; of those who come and go in a line that never empties, those with the least held against them."""
        if not self._callers:
            self._virtual = 0.0
            self._ends.clear()
            return
        enough = 2 * len(self._owners) + _FEW
        if len(self._ends) > 2 * enough:
            self._ends = dict(heapq.nlargest(enough, self._ends.items(), key=lambda each: each[1]))
