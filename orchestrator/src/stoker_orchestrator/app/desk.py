"""Where jobs get their places on workers: callers wait on futures while the switchboard decides."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.outliers import Ejected, Probe, Readmitted
from stoker_orchestrator.domain.switchboard import Effect, Granted, Outcome, Refused, Switchboard, Wake


class RefusedError(Exception):
    """The job is not served; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(slots=True, eq=False)
class Slot:
    """A place on a worker since `began`. `give_up` ends the try that runs there; whoever tries sets it."""

    endpoint: Endpoint
    cost: float
    began: float
    waited: float
    cold: bool
    grant: Granted
    outcome: Outcome = Outcome.NEITHER
    give_up: Callable[[], None] | None = None


class Desk(Protocol):
    """Gives out places on workers and takes them back."""

    async def take(self, model: Model, ask: Ask) -> Slot:
        """Wait for a place on a worker of `model`, which must be given back. Raises RefusedError."""

    def give_back(self, slot: Slot) -> None:
        """The place is free again; the slot's `outcome` says how its time ended."""


class LocalDesk:
    """Places by this process's own switchboard. `act` carries out what concerns workers and models rather than one caller."""

    def __init__(self, switchboard: Switchboard, metrics: Metrics, act: Callable[[Effect], None]) -> None:
        self._switchboard = switchboard
        self._metrics = metrics
        self._act = act
        self._tickets = itertools.count()
        self._callers: dict[int, asyncio.Future[Granted]] = {}
        self._taken: set[Slot] = set()
        self.changed = asyncio.Event()
        """Set whenever something may have changed that others are told of."""

    async def take(self, model: Model, ask: Ask) -> Slot:
        """Wait for a place on a worker of `model`, which must be given back. Raises RefusedError."""
        asked = time.monotonic()
        ticket = next(self._tickets)
        effects = self._switchboard.arrive(ticket, model, ask, asked)
        if len(effects) == 1 and isinstance(grant := effects[0], Granted):
            self.changed.set()
            slot = Slot(grant.endpoint, ask.cost, asked, ask.waited, cold=False, grant=grant)
        else:
            cold = not self._switchboard.registry.is_warm(model.name)
            grant = await self._waited(ticket, model, effects)
            if cold:
                self._metrics.cold_starts.labels(model.name).inc()
            began = time.monotonic()
            slot = Slot(grant.endpoint, ask.cost, began, ask.waited + began - asked, cold, grant)
        self._taken.add(slot)
        self._metrics.queue_seconds.observe(model.name, slot.waited)
        return slot

    def give_back(self, slot: Slot) -> None:
        """The place is free again."""
        now = time.monotonic()
        self._taken.discard(slot)
        self._metrics.worker_seconds.observe(slot.endpoint.model, now - slot.began)
        self.do(self._switchboard.release(slot.grant, now, slot.outcome, now - slot.began))

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the switchboard said."""
        self.changed.set()
        for effect in effects:
            match effect:
                case Granted(ticket):
                    self._answer(ticket, effect)
                case Refused(ticket, refusal):
                    caller = self._callers.get(ticket)
                    if caller is not None and not caller.done():
                        caller.set_exception(RefusedError(refusal))
                case Ejected(endpoint):
                    self._give_up(endpoint)
                    self._act(effect)
                case Wake() | Probe() | Readmitted():
                    self._act(effect)

    def _give_up(self, endpoint: Endpoint) -> None:
        """The tries that run on an endpoint which was ejected are lost."""
        for slot in [slot for slot in self._taken if slot.endpoint is endpoint and slot.give_up is not None]:
            assert slot.give_up is not None  # noqa: S101 - chosen for having one
            slot.give_up()

    async def _waited(self, ticket: int, model: Model, effects: list[Effect]) -> Granted:
        future: asyncio.Future[Granted] = asyncio.get_running_loop().create_future()
        self._callers[ticket] = future
        try:
            self.do(effects)
            return await future
        except asyncio.CancelledError:
            self._switchboard.leave(model.name, ticket)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.do(self._switchboard.release(future.result(), time.monotonic()))
            raise
        finally:
            self._callers.pop(ticket, None)

    def _answer(self, ticket: int, grant: Granted) -> None:
        caller = self._callers.get(ticket)
        if caller is None or caller.done():
            self.do(self._switchboard.release(grant, time.monotonic()))
        else:
            caller.set_result(grant)
