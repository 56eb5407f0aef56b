"""The waiting line of a model: order kept, callers served fairly, nobody held longer than it has patience.

Fairness is start-time fair queueing over declared cost (Goyal, Vin, Cheng 1996): a caller's next job gets a tag where its last one
ends in virtual time, and the smallest tag is served first. One caller alone, or many with one job each: first come, first served.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from stoker_orchestrator.domain.model import Endpoint

_FIRST = -1.0
"""The tag of a job that was served already and lost its worker: before all others."""
_FEW = 64
"""So many callers, and jobs that have left, are remembered beside those who wait."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a job asks of a model's line.

    `caller` is whom it is fair to, any word that tells callers apart. `patience` is in how many seconds it must be answered, cold
    starts not counted; None: it waits as long as the model allows. `waited` are seconds that it has waited before, elsewhere.
    `excluded` are endpoints that it must not meet, `again` tells that it had a worker and lost it.
    """

    cost: float
    caller: str = ""
    patience: float | None = None
    waited: float = 0.0
    excluded: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in line since `joined`. The limits are moments on the line's two clocks, and so is `cold_from`, when it came."""

    ticket: int
    ask: Ask
    joined: float
    warm_limit: float
    cold_limit: float
    cold_from: float
    tag: float


class Line:
    """Who waits for one model.

    It has two clocks. One goes while the model has a worker that serves, the other while it has none, so that a cold start does not
    eat a job's own patience.
    """

    def __init__(self, now: float, *, warm: bool) -> None:
        self.work = 0.0
        """Declared cost of all jobs in line."""
        self.choosy = 0
        """Jobs in line that must not meet some endpoint: those behind them may be served before them."""
        self._jobs: dict[int, Waiting] = {}
        self._order: list[tuple[float, float, int]] = []
        self._virtual = 0.0
        self._ends: dict[str, float] = {}
        self._warm = warm
        self._turned = now
        self._clocks = {True: 0.0, False: 0.0}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(list(self._jobs.values()))

    @property
    def callers(self) -> int:
        """How many callers have jobs in line."""
        return len({job.ask.caller for job in self._jobs.values()})

    def oldest(self, now: float) -> float:
        """Seconds that the job waits which waits longest; 0 for an empty line."""
        return now - min((job.joined for job in self._jobs.values()), default=now)

    def join(self, ticket: int, ask: Ask, now: float, start_timeout: float, seconds: float = 0.0) -> Waiting:
        """Stand in line; `seconds` is how long the job itself is expected to take, which it must not begin too late for."""
        patience = start_timeout if ask.patience is None else max(0.0, ask.patience - seconds)
        tag = self._tag(ask)
        cold = self._clock(now, warm=False)
        limits = self._clock(now, warm=True) + patience, cold + start_timeout
        job = self._jobs[ticket] = Waiting(ticket, ask, now - ask.waited, *limits, cold, tag)
        heapq.heappush(self._order, (tag, job.joined, ticket))
        self.work += ask.cost
        self.choosy += bool(ask.excluded)
        return job

    def leave(self, ticket: int) -> Waiting | None:
        """The job is served, or its caller is gone."""
        job = self._jobs.pop(ticket, None)
        if job is not None:
            self.work -= job.ask.cost
            self.choosy -= bool(job.ask.excluded)
            if not self._jobs:
                self.work, self._virtual = 0.0, 0.0
                self._order.clear()
                self._ends.clear()
            elif len(self._order) > 2 * len(self._jobs) + _FEW:
                self._order = [entry for entry in self._order if entry[2] in self._jobs]
                heapq.heapify(self._order)
        return job

    def serve(self, choose: Callable[[Ask], Endpoint | None]) -> tuple[Waiting, Endpoint] | None:
        """Take the first job out of line for which `choose` finds an endpoint, with that endpoint.

        Where none is found for a job without exclusions, no later one is looked at: it would take that job's slot.
        """
        aside: list[tuple[float, float, int]] = []
        found: tuple[Waiting, Endpoint] | None = None
        while self._order and found is None:
            entry = heapq.heappop(self._order)
            job = self._jobs.get(entry[2])
            if job is None:
                continue
            endpoint = choose(job.ask)
            if endpoint is not None:
                found = job, endpoint
            else:
                aside.append(entry)
                if not job.ask.excluded:
                    break
        for entry in aside:
            heapq.heappush(self._order, entry)
        if found is not None:
            self._virtual = max(self._virtual, found[0].tag)
            self.leave(found[0].ticket)
        return found

    def reorder(self) -> None:
        """Jobs came in another order than they have waited: from here on as if they had come in the order of their waiting."""
        self._order, self._ends, self._virtual = [], {}, 0.0
        for job in sorted(self._jobs.values(), key=lambda each: each.joined):
            tag = self._tag(job.ask)
            self._jobs[job.ticket] = replace(job, tag=tag)
            heapq.heappush(self._order, (tag, job.joined, job.ticket))

    def turn(self, now: float, *, warm: bool) -> None:
        """Tell whether the model has a worker that serves, from `now` on."""
        if warm is not self._warm:
            self._clocks[self._warm] += now - self._turned
            self._warm, self._turned = warm, now

    def cold_seconds(self, job: Waiting, now: float) -> float:
        """For how long of its time in line the model had no worker that serves."""
        return self._clock(now, warm=False) - job.cold_from

    def expired(self, now: float) -> list[Waiting]:
        """The jobs whose time is over; they leave the line."""
        warm, cold = self._clock(now, warm=True), self._clock(now, warm=False)
        late = [job for job in self._jobs.values() if job.warm_limit <= warm or job.cold_limit <= cold]
        for job in late:
            self.leave(job.ticket)
        return late

    def _tag(self, ask: Ask) -> float:
        if ask.again:
            return _FIRST
        tag = max(self._virtual, self._ends.get(ask.caller, 0.0))
        self._ends[ask.caller] = tag + ask.cost
        self._forget_callers()
        return tag

    def _forget_callers(self) -> None:
        """Of callers who come and go in a line that never empties, those with the least to be held against them."""
        enough = 2 * len(self._jobs) + _FEW
        if len(self._ends) > 2 * enough:
            self._ends = dict(heapq.nlargest(enough, self._ends.items(), key=lambda each: each[1]))

    def _clock(self, now: float, *, warm: bool) -> float:
        return self._clocks[warm] + (now - self._turned if warm is self._warm else 0.0)
