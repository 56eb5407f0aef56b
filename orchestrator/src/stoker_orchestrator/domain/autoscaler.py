"""How many workers activity wants for one model."""

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from stoker_contracts.resources.scaling import ScalingReason
from stoker_orchestrator.domain.model import Bounds, Endpoint, EndpointState, Model

RESIDENCY_SECONDS = 60.0
"""A worker that became ready stays at least so long, whatever is asked for: a load costs more than it frees."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a model at one moment.

    `seconds` is how long one worker takes for the declared work in line; None before any job of the model was seen.
    """

    waiting: int = 0
    seconds: float | None = None
    endpoints: Collection[Endpoint] = ()

    @property
    def in_flight(self) -> int:
        """Jobs on workers."""
        return sum(endpoint.in_flight for endpoint in self.endpoints)

    def since(self, moment: float) -> int:
        """Jobs at a time, with those that came and ended after `moment`, as far as workers show it."""
        jobs = self.waiting
        for each in self.endpoints:
            jobs += each.in_flight or (each.idle_since > moment and each.idle_since > each.since)
        return jobs


@dataclass(frozen=True, slots=True)
class Wish:
    """So many workers are to run, for this reason."""

    replicas: int
    reason: ScalingReason
    message: str


@dataclass(slots=True)
class _Memory:
    """Of one model: how many jobs it had at a time, when it was last scaled up, since when it is asked for without effect."""

    looked: float
    began: float
    """Since when it is remembered; what was before was not seen."""
    peaks: deque[tuple[float, int]] = field(default_factory=deque)
    raised: float = -math.inf
    woken: float | None = None

    def note(self, jobs: int, now: float) -> None:
        """Later and higher counts make earlier ones needless: what is left falls from the left to the right."""
        while self.peaks and self.peaks[-1][1] <= jobs:
            self.peaks.pop()
        self.peaks.append((now, jobs))
        self.looked = now

    def peak(self, after: float) -> int:
        """The most jobs at a time since that moment. What is older is forgotten."""
        while len(self.peaks) > 1 and self.peaks[0][0] < after:
            self.peaks.popleft()
        return self.peaks[0][1] if self.peaks else 0


def effective(model: Model) -> int:
    """The workers that run for what is asked: held between least and most while activity decides, as the operator does."""
    if model.scaling is None:
        return model.replicas
    return min(max(model.replicas, model.scaling.least), model.scaling.most)


class Autoscaler:
    """Remembers the activity of all models and says what it wants for each.

    Up by the work in line, at once. Down only to what the last `idle_after` needed at its peak: what was wanted once within the
    window is wanted to its end, so that the same demand never takes a worker away and brings it back.
    """

    def __init__(self, now: float, residency: float = RESIDENCY_SECONDS) -> None:
        self._residency = residency
        self._began = now
        self._memories: dict[str, _Memory] = {}

    def begin(self, now: float) -> None:
        """What was before `now` was not seen: it counts as activity for as long as each model remembers."""
        self._began = now

    def woken(self, name: str, now: float) -> None:
        """A job came for a model that has no worker. The wish for one outlives the job's caller."""
        memory = self._memory(name, now)
        if memory.woken is None:
            memory.woken = now

    def raised(self, name: str, now: float) -> None:
        """More workers were asked for."""
        self._memory(name, now).raised = now

    def note(self, model: Model, demand: Demand, now: float) -> None:
        """Remember what is asked of a model."""
        memory = self._memory(model.name, now)
        memory.note(demand.since(memory.looked) if memory.peaks else demand.since(now), now)
        served = any(endpoint.coming for endpoint in demand.endpoints)
        if memory.woken is not None and (served or now - memory.woken >= model.start_timeout):
            memory.woken = None

    def forget(self, known: set[str]) -> None:
        """Only the models with these names are still offered."""
        for name in self._memories.keys() - known:
            del self._memories[name]

    def want(self, model: Model, demand: Demand, now: float) -> Wish | None:
        """What activity wants; None where it stands aside or all may stay as it is."""
        bounds = model.scaling
        if bounds is None:
            return None
        if model.replicas > bounds.most:
            return Wish(bounds.most, ScalingReason.BOUNDS, f"no more than {_workers(bounds.most)} may run")
        return self._up(model, bounds, demand, now) or self._down(model, bounds, demand, now)

    def _up(self, model: Model, bounds: Bounds, demand: Demand, now: float) -> Wish | None:
        current = effective(model)
        if model.obstacle is not None and not model.obstacle.of_room:
            return None
        wanted = min(bounds.most, _needed(model, bounds, demand, woken=self._memory(model.name, now).woken is not None))
        if wanted <= current or (current and any(endpoint.no_room for endpoint in demand.endpoints)):
            return None
        if current == 0:
            return Wish(wanted, ScalingReason.WAKE, "a job came and no worker runs")
        words = f"{demand.seconds or 0:.0f} s of work in line, the target is {bounds.target_queue_seconds:g} s"
        return Wish(wanted, ScalingReason.QUEUE, words)

    def _down(self, model: Model, bounds: Bounds, demand: Demand, now: float) -> Wish | None:
        memory = self._memory(model.name, now)
        seen_since = max(memory.began, self._began)
        if demand.waiting or memory.woken is not None or now < max(memory.raised + self._residency, seen_since + bounds.idle_after):
            return None
        peak = memory.peak(now - bounds.idle_after)
        wanted = max(bounds.least, math.ceil(peak / model.capacity))
        if wanted >= effective(model) or any(self._is_fresh(endpoint, now) for endpoint in demand.endpoints):
            return None
        jobs = "no job" if peak == 0 else f"at most {peak} {'job' if peak == 1 else 'jobs'} at a time"
        return Wish(wanted, ScalingReason.IDLE, f"{jobs} in the last {bounds.idle_after:g} s")

    def _is_fresh(self, endpoint: Endpoint, now: float) -> bool:
        """Whether it became ready less than the residency ago."""
        return endpoint.state is EndpointState.READY and now < endpoint.since + self._residency

    def _memory(self, name: str, now: float) -> _Memory:
        return self._memories.setdefault(name, _Memory(now, now))


def _needed(model: Model, bounds: Bounds, demand: Demand, *, woken: bool) -> int:
    """Workers that bring the work in line below the target, but not more than there are jobs for; grows with the demand alone."""
    first = int(demand.waiting > 0 or woken)
    if not demand.waiting or demand.seconds is None:
        return first
    by_work = math.ceil(demand.seconds / (bounds.target_queue_seconds * model.capacity))
    by_jobs = math.ceil((demand.in_flight + demand.waiting) / model.capacity)
    return max(first, min(by_work, by_jobs))


def _workers(count: int) -> str:
    return f"{count} {'worker' if count == 1 else 'workers'}"
