"""The machine in the middle: jobs and fleet events in, grants, refusals and wakes out.

It holds the registry and the lines, and does nothing by itself: every method says what is to be done, and the caller does it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.domain.admission import Hold, Limits, Refusal, admit, retry_after, stuck, unavailable
from stoker_orchestrator.domain.cost import FAR_LESS
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen
from stoker_orchestrator.domain.hold import Ask, Line
from stoker_orchestrator.domain.load import NOBODY, Crowd, Load
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Model
from stoker_orchestrator.domain.outliers import Judgement, Outliers, Probe, Pulse
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.router import choose

_ASKED_AT_A_TIME = 8
"""Of the endpoints of one model that start; with more of them, their fleet tells as soon."""
_NO_LONGER_OFFERED = Refusal(404, ErrorType.MODEL_NOT_FOUND, "the model is no longer offered")


class Outcome(Enum):
    """How a job's time on a worker ended, as far as the worker is to blame for it."""

    SERVED = auto()
    """It was done; its time tells how fast the worker is."""
    ANSWERED = auto()
    """It was answered without being done, by a worker that is well: a refusal takes no time, and tells nothing of a job's."""
    LOST = auto()
    """The worker went away, or was given up."""
    LEAVING = auto()
    """The worker said that it takes no more jobs."""
    NEITHER = auto()
    """The caller hung up, or the worker was full."""


@dataclass(slots=True)
class Granted:
    """The job may run on this endpoint; its slot is taken and must be released. `cold` is how long it waited for a first worker."""

    ticket: int
    endpoint: Endpoint
    cost: float
    cold: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The job is not served."""

    ticket: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Wake:
    """A job waits for this model and no worker is on its way."""

    model: str


Effect = Granted | Refused | Wake | Judgement


class Switchboard:
    """Admission, lines and routing of all models over one registry."""

    def __init__(self, registry: Registry, limits: Limits | None = None) -> None:
        self.registry = registry
        self.outliers = Outliers()
        self.paused = False
        """Jobs come and wait, and none is given a slot: which slots are taken is not known here now."""
        self.told: Load | None = None
        """How busy everything is, as the orchestrator says which gives out the slots; None where this one does."""
        self._limits = limits or Limits()
        self._lines: dict[str, Line] = {}

    def line(self, name: str) -> Line | None:
        """The line of a model, where anybody waits."""
        return self._lines.get(name)

    def waiting(self, name: str) -> int:
        """Jobs in the line of a model."""
        if self.told is not None:
            return self.told.lines.get(name, NOBODY).waiting
        return len(self._lines[name]) if name in self._lines else 0

    def work(self, name: str) -> float:
        """Declared cost of the jobs in the line of a model."""
        if self.told is not None:
            return self.told.lines.get(name, NOBODY).work
        return self._lines[name].work if name in self._lines else 0.0

    def crowd(self, name: str, now: float) -> Crowd:
        """The line of a model, seen from outside."""
        line = self._lines.get(name)
        if self.told is not None:
            return self.told.lines.get(name, NOBODY)
        return Crowd(len(line), line.work, line.callers, line.oldest(now)) if line is not None else NOBODY

    def arrive(self, ticket: int, model: Model, ask: Ask, now: float) -> list[Effect]:
        """A job comes. No grant and no refusal among the effects means that it waits."""
        known = self.registry.model(model.name)  # a job that comes again brings what was so when it came first
        if known is None:
            return [Refused(ticket, _NO_LONGER_OFFERED)]
        if ask.excluded:
            self._ask_after(ask.excluded)
        line = self._lines.get(known.name) if self._lines else None
        match admit(self.registry, known, line, ask, self._limits, paused=self.paused):
            case Endpoint() as endpoint:
                return [self._grant(ticket, endpoint, ask.cost, now)]
            case Hold(wake):
                if line is None:
                    line = self._lines[known.name] = Line(now, warm=self.registry.is_warm(known.name))
                line.join(ticket, ask, now, known.start_timeout, self.registry.expected(known.name, ask.cost))
                effects: list[Effect] = [Wake(known.name)] if wake else []
                return [*effects, *self._serve(known.name, now)] if line.choosy else effects
            case Refusal() as refusal:
                return [Refused(ticket, refusal)]

    def _ask_after(self, excluded: Collection[str]) -> None:
        """A job meets these no more before they answer: they are asked from here, whoever led when they lost it."""
        for endpoint in map(self.registry.endpoint, excluded):
            if endpoint is not None and endpoint.pulse and not endpoint.recovered and not endpoint.ejected:
                self.outliers.know(endpoint)

    def at_once(self, model: Model, cost: float, now: float) -> Granted | None:
        """A place for a job that comes now, where one is free and nobody waits; else it must arrive as all others."""
        if self.paused or (self._lines and self._lines.get(model.name)):
            return None
        endpoint = choose(self.registry.endpoints_of(model.name), cost)
        return self._grant(-1, endpoint, cost, now) if endpoint is not None else None

    def leave(self, name: str, ticket: int) -> None:
        """A waiting job's caller is gone."""
        if name in self._lines:
            self._lines[name].leave(ticket)

    def evict(self) -> list[int]:
        """All who wait are to ask elsewhere; returns their tickets, those who have waited longest first."""
        waiting = sorted((job for line in self._lines.values() for job in line), key=lambda job: (not job.ask.again, job.joined))
        self._lines.clear()
        return [job.ticket for job in waiting]

    def resume(self, now: float) -> list[Effect]:
        """Which slots are taken is known again: who came meanwhile is served, in the order of their waiting."""
        self.paused = False
        for line in self._lines.values():
            line.reorder()
        return [effect for name in list(self._lines) for effect in self.look(name, now)]

    def adopt(self, endpoint: Endpoint, cost: float, now: float) -> Granted:
        """A job runs on `endpoint` already, granted by another orchestrator: its slot counts here from now on.

        The grant names this registry's own endpoint of that id.
        """
        return self._grant(-1, self.registry.same(endpoint), cost, now)

    def release(self, grant: Granted, now: float, outcome: Outcome = Outcome.NEITHER, seconds: float = 0.0) -> list[Effect]:
        """A job's time on its worker is over after so many seconds: its slot serves the next in line."""
        effects: list[Effect] = []
        endpoint = grant.endpoint
        self.registry.give_back(endpoint, grant.cost, now)
        match outcome:
            case Outcome.SERVED:
                self._learn(endpoint, grant.cost, seconds)
                self.outliers.ended(endpoint)
            case Outcome.ANSWERED:
                self.outliers.ended(endpoint)
            case Outcome.LEAVING:
                endpoint.recovered = False
            case Outcome.LOST if self.registry.endpoint(endpoint.id) is endpoint:
                effects += self._judged(self.outliers.failed(endpoint), now)
        if self._lines:
            effects += self._serve(endpoint.model, now)
        return effects

    def _learn(self, endpoint: Endpoint, cost: float, seconds: float) -> None:
        """Who waits stands where it would, had one known that jobs take so much less: the order rests on how long they take."""
        name, line = endpoint.model, self._lines.get(endpoint.model)
        if self.registry.observe(endpoint, cost, seconds) < FAR_LESS and line is not None:
            line.expect(lambda declared: self.registry.expected(name, declared))

    def apply(self, event: FleetEvent, now: float) -> list[Effect]:
        """The fleet changed."""
        known = self.registry.endpoint(event.id) if isinstance(event, EndpointGone | EndpointSeen) else None
        was = known.state if known is not None else None
        self.registry.apply(event, now)
        if self.told is not None and isinstance(event, EndpointSeen):
            self.told.show(self.registry.endpoint(event.id), now)
        match event:
            case EndpointGone(identity):
                self.outliers.gone(identity)
                return self.look(known.model, now) if known is not None else []
            case EndpointSeen(identity):
                if known is not None and known.ejected and was is not EndpointState.READY and event.state is EndpointState.READY:
                    return self._judged(self.outliers.answered(identity, None, now), now)  # whoever asked it, it has answered
                return self.look(event.model, now)
            case ModelSeen(model):
                return self.look(model.name, now)
            case ModelGone(name):
                return self.look(name, now)
        return []

    def expire(self, now: float) -> list[Effect]:
        """Time has passed: who waited too long is refused, models that lack a worker are asked for, endpoints are probed."""
        effects: list[Effect] = []
        for name, line in list(self._lines.items()):
            model = self.registry.model(name)
            effects += [Refused(job.ticket, self._too_late(name, model)) for job in line.expired(now)]
            coming = any(endpoint.coming for endpoint in self.registry.endpoints_of(name))
            if line and model is not None and model.startable and not coming:
                effects.append(Wake(name))
            if line:
                effects += self._ask_awaited(name, line)
            else:
                del self._lines[name]
        effects += self.outliers.due(self.registry.busy, now)
        return effects

    def look(self, name: str, now: float) -> list[Effect]:
        """Something changed for a model: serve its line, or tell it that waiting is of no use."""
        line = self._lines.get(name)
        if line is None:
            return []
        line.turn(now, warm=self.registry.is_warm(name))
        return [*self._serve(name, now), *self._give_up(name)]

    def _ask_awaited(self, name: str, line: Line) -> list[Effect]:
        """Some of the endpoints that are about to be ready, others each time, so that a hundred that start are no flood."""
        awaited = [endpoint for endpoint in self.registry.endpoints_of(name) if endpoint.awaited]
        line.rounds += 1
        first = line.rounds * _ASKED_AT_A_TIME % len(awaited) if len(awaited) > _ASKED_AT_A_TIME else 0
        return [Probe(endpoint) for endpoint in [*awaited, *awaited][first : first + min(_ASKED_AT_A_TIME, len(awaited))]]

    def probed(self, identity: str, pulse: Pulse, now: float) -> list[Effect]:
        """An endpoint answered a probe, or did not."""
        endpoint = self.registry.endpoint(identity)
        if endpoint is not None and endpoint.awaited:
            endpoint.ahead = pulse.ready
            return self.look(endpoint.model, now) if pulse.ready else []
        if endpoint is None or not pulse.alive:
            return self._judged(self.outliers.silent(identity), now)
        ready = pulse.ready or not endpoint.pulse
        return self._judged(self.outliers.answered(identity, pulse.steps, now, ready=ready), now)

    def _judged(self, judged: list[Judgement], now: float) -> list[Effect]:
        effects: list[Effect] = list(judged)
        for each in judged:
            effects += self.look(each.endpoint.model, now)
        return effects

    def _too_late(self, name: str, model: Model | None) -> Refusal:
        words = f"no worker of {model.model_id if model else 'this model'} became free in time"
        again = retry_after(self.registry, model, self.work(name)) if model is not None else 30
        return Refusal(503, ErrorType.START_TIMEOUT, words, retry_after=again)

    def _grant(self, ticket: int, endpoint: Endpoint, cost: float, now: float, cold: float = 0.0) -> Granted:
        self.registry.take(endpoint, cost)
        if self.registry.endpoint(endpoint.id) is endpoint:
            self.outliers.begun(endpoint, now)
        return Granted(ticket, endpoint, cost, cold)

    def _serve(self, name: str, now: float) -> Iterator[Effect]:
        """One grant for each free slot, in the order of the line."""
        line = self._lines.get(name) if not self.paused else None
        while line and (served := line.serve(lambda ask: choose(self.registry.endpoints_of(name), ask.cost, ask.excluded))):
            job, endpoint = served
            yield self._grant(job.ticket, endpoint, job.ask.cost, now, line.cold_seconds(job, now))

    def _give_up(self, name: str) -> Iterator[Effect]:
        """Who waits for what cannot come is told at once."""
        model, line = self.registry.model(name), self._lines.get(name)
        if line is None or not line:
            return
        if model is None:
            refusal = _NO_LONGER_OFFERED
        elif stuck(self.registry, model):
            refusal = unavailable(model)
        else:
            return
        for job in line:
            line.leave(job.ticket)
            yield Refused(job.ticket, refusal)
