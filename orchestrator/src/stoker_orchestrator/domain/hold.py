"""The waiting line of a model: callers served fairly, short jobs before long ones within bounds, nobody held beyond its patience.

One caller's jobs go in the order in which they would be done if each had begun when it came. So a job is passed only by shorter
ones that came no later after it than it takes itself, and jobs that take as long as each other are served as they came.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from stoker_orchestrator.domain.model import Endpoint
from stoker_orchestrator.domain.order import FairOrder


@dataclass(frozen=True, slots=True)
class Ask:
    """What a job asks of a model's line.

    `caller` is whom it is fair to, any word that tells callers apart. `patience` is in how many seconds it must be answered, cold
    starts not counted; None: it waits as long as the model allows. `waited` are seconds that it has waited before, elsewhere.
    `excluded` are endpoints that it had before and must not meet again.
    """

    cost: float
    caller: str = ""
    patience: float | None = None
    waited: float = 0.0
    excluded: tuple[str, ...] = ()

    @property
    def again(self) -> bool:
        """Whether it had a worker and lost it: it goes before all others."""
        return bool(self.excluded)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in line since `joined`; `rank` is when it would be done if it had begun then.

    The limits are moments on the line's two clocks, and so is `cold_from`, when it came.
    """

    ticket: int
    ask: Ask
    joined: float
    warm_limit: float
    cold_limit: float
    cold_from: float
    rank: float


class Line:
    """Who waits for one model.

    It has two clocks. One goes while the model has a worker that serves, the other while it has none, so that a cold start does not
    eat a job's own patience.
    """

    def __init__(self, now: float, *, warm: bool) -> None:
        self.work = 0.0
        """Declared cost of all jobs in line."""
        self.rounds = 0
        """How often some of the workers that start were asked whether they are ready."""
        self._jobs: dict[int, Waiting] = {}
        self._again: dict[int, Waiting] = {}
        self._order = FairOrder()
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

    @property
    def choosy(self) -> bool:
        """Whether jobs in line must not meet some endpoint: those behind them may be served before them."""
        return bool(self._again)

    def oldest(self, now: float) -> float:
        """Seconds that the job waits which waits longest; 0 for an empty line."""
        return now - min((job.joined for job in self._jobs.values()), default=now)

    def join(self, ticket: int, ask: Ask, now: float, start_timeout: float, seconds: float = 0.0) -> Waiting:
        """Stand in line; `seconds` is how long the job itself is expected to take, which it must not begin too late for."""
        patience = start_timeout if ask.patience is None else max(0.0, ask.patience - seconds)
        cold = self._clock(now, warm=False)
        limits = self._clock(now, warm=True) + patience, cold + start_timeout
        joined = now - ask.waited
        job = self._jobs[ticket] = Waiting(ticket, ask, joined, *limits, cold, joined + seconds)
        self.work += ask.cost
        if ask.again:
            self._again[ticket] = job
        else:
            self._order.add(ticket, ask.caller, job.rank)
        return job

    def leave(self, ticket: int) -> Waiting | None:
        """The job's caller is gone, or its time is over."""
        return self._out(ticket, served=False) if ticket in self._jobs else None

    def serve(self, choose: Callable[[Ask], Endpoint | None]) -> tuple[Waiting, Endpoint] | None:
        """Take the first job out of line for which `choose` finds an endpoint, with that endpoint.

        Jobs that lost their worker go before all others, which pass them where all endpoints are such as they must not meet.
        """
        for job in sorted(self._again.values(), key=lambda each: each.joined):
            endpoint = choose(job.ask)
            if endpoint is not None:
                return self._out(job.ticket, served=True), endpoint
        first = self._order.first()
        endpoint = choose(self._jobs[first].ask) if first is not None else None
        if first is None or endpoint is None:
            return None
        return self._out(first, served=True), endpoint

    def reorder(self) -> None:
        """Jobs came in another order than they have waited: from here on as if they had come in the order of their waiting."""
        self._order = FairOrder()
        for job in self._jobs.values():
            if not job.ask.again:
                self._order.add(job.ticket, job.ask.caller, job.rank)

    def expect(self, seconds: Callable[[float], float]) -> None:
        """Jobs take less than was expected when they came; `seconds` tells how long now, from a declared cost."""
        for ticket, job in self._jobs.items():
            self._jobs[ticket] = replace(job, rank=min(job.rank, job.joined + seconds(job.ask.cost)))
        self._again = {ticket: self._jobs[ticket] for ticket in self._again}
        self._order.rerank(lambda ticket: self._jobs[ticket].rank)

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

    def _out(self, ticket: int, *, served: bool) -> Waiting:
        job = self._jobs.pop(ticket)
        if self._again.pop(ticket, None) is None:
            self._order.remove(ticket, job.ask.cost if served else 0.0)
        self.work = self.work - job.ask.cost if self._jobs else 0.0
        return job

    def _clock(self, now: float, *, warm: bool) -> float:
        return self._clocks[warm] + (now - self._turned if warm is self._warm else 0.0)
