"""The machine in the middle: jobs and fleet events in, grants, refusals and wakes out.

It holds the registry and the lines, and does nothing by itself: every method says what is to be done, and the caller does it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.domain.admission import Hold, Refusal, admit, unavailable
from stoker_orchestrator.domain.events import FleetEvent, ModelGone
from stoker_orchestrator.domain.hold import Line, Waiting
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.router import choose


@dataclass(slots=True)
class Granted:
    """The job may run on this endpoint; its slot is taken and must be released."""

    ticket: int
    endpoint: Endpoint
    cost: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The job is not served."""

    ticket: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Wake:
    """The fleet is to start a first worker of this model."""

    model: str


Effect = Granted | Refused | Wake


class Switchboard:
    """Admission, lines and routing of all models over one registry."""

    def __init__(self, registry: Registry, line_limit: int = 64) -> None:
        self.registry = registry
        self._line_limit = line_limit
        self._lines: dict[str, Line] = {}

    def waiting(self, name: str) -> int:
        """Jobs in the line of a model."""
        return len(self._lines[name]) if name in self._lines else 0

    def arrive(self, ticket: int, model: Model, cost: float, now: float, excluded: Collection[str] = ()) -> list[Effect]:
        """A job comes. No grant and no refusal among the effects means that it waits."""
        match admit(self.registry, model, self.waiting(model.name), self._line_limit, excluded):
            case Endpoint() as endpoint:
                return [self._grant(ticket, endpoint, cost)]
            case Hold(wake):
                job = Waiting(ticket, cost, now + model.start_timeout, excluded)
                self._lines.setdefault(model.name, Line()).join(job)
                return [Wake(model.name)] if wake else []
            case Refusal() as refusal:
                return [Refused(ticket, refusal)]

    def leave(self, name: str, ticket: int) -> None:
        """A waiting job's caller is gone."""
        if name in self._lines:
            self._lines[name].leave(ticket)

    def release(self, grant: Granted, seconds: float | None = None) -> list[Effect]:
        """A job has ended: its slot serves the next in line. `seconds` is how long it took, where it ended well."""
        if seconds is not None:
            self.registry.observe(grant.endpoint.model, seconds)
        self.registry.give_back(grant.endpoint, grant.cost)
        return list(self._serve(grant.endpoint.model)) if self._lines else []

    def apply(self, event: FleetEvent) -> list[Effect]:
        """The fleet changed."""
        self.registry.apply(event)
        effects: list[Effect] = []
        for name in list(self._lines):
            effects.extend(self._serve(name))
            effects.extend(self._give_up(name, gone=isinstance(event, ModelGone)))
        return effects

    def expire(self, now: float) -> list[Effect]:
        """Time has passed: who waited too long is refused; models that still lack a worker are asked for again."""
        effects: list[Effect] = []
        for name, line in list(self._lines.items()):
            effects.extend(Refused(job.ticket, self._too_late(name)) for job in line.expired(now))
            model = self.registry.model(name)
            coming = any(endpoint.coming for endpoint in self.registry.endpoints_of(name))
            if line and model is not None and model.startable and not coming:
                effects.append(Wake(name))
            if not line:
                del self._lines[name]
        return effects

    def _too_late(self, name: str) -> Refusal:
        model = self.registry.model(name)
        words = f"no worker of {model.model_id if model else 'this model'} became free in time"
        return Refusal(503, ErrorType.START_TIMEOUT, words, retry_after=30)

    def _grant(self, ticket: int, endpoint: Endpoint, cost: float) -> Granted:
        self.registry.take(endpoint, cost)
        return Granted(ticket, endpoint, cost)

    def _serve(self, name: str) -> Iterator[Effect]:
        """One grant for each free slot, in the order of the line."""
        line = self._lines.get(name)
        for job in line or ():
            endpoint = choose(self.registry.endpoints_of(name), job.excluded)
            if endpoint is not None and line is not None:
                line.leave(job.ticket)
                yield self._grant(job.ticket, endpoint, job.cost)
            elif not job.excluded:
                return

    def _give_up(self, name: str, *, gone: bool) -> Iterator[Effect]:
        """Who waits for what cannot come is told at once."""
        model, line = self.registry.model(name), self._lines.get(name)
        if line is None or not line:
            return
        if model is None and gone:
            refusal = Refusal(404, ErrorType.MODEL_NOT_FOUND, "the model is no longer offered")
        elif model is not None and model.obstacle is not None and not self.registry.is_warm(name):
            refusal = unavailable(model)
        else:
            return
        for job in line:
            line.leave(job.ticket)
            yield Refused(job.ticket, refusal)
