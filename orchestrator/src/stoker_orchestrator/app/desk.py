"""Where jobs get their places on workers: callers wait on futures while the switchboard decides."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable
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


class MovedError(Exception):
    """Places are given out at another desk now; whoever waits here asks there."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place on a worker since `began`, after so many seconds in line, `cold` of them without any worker.

    `give_up` ends the try that runs there; whoever tries sets it.
    `desk` counts it and takes it back; it is another one after the slot was handed over.
    """

    desk: "Desk"
    endpoint: Endpoint
    cost: float
    began: float
    waited: float
    cold: float
    grant: Granted
    outcome: Outcome = Outcome.NEITHER
    give_up: Callable[[], None] | None = None


class Desk(Protocol):
    """Gives out places on workers and takes them back."""

    async def take(self, model: Model, ask: Ask) -> Slot:
        """Wait for a place on a worker of `model`, which must be given back. Raises RefusedError, MovedError."""

    def take_now(self, model: Model, cost: float) -> Slot | None:
        """A place that can be had without waiting, which must be given back; None where `take` must decide."""

    def give_back(self, slot: Slot) -> None:
        """The place is free again; the slot's `outcome` says how its time ended."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A caller in line."""

    future: asyncio.Future[Slot]
    ask: Ask
    asked: float


class LocalDesk:
    """Places by this process's own switchboard. `act` carries out what concerns workers and models rather than one caller."""

    def __init__(self, switchboard: Switchboard, metrics: Metrics, act: Callable[[Effect], None]) -> None:
        self._switchboard = switchboard
        self._metrics = metrics
        self._act = act
        self._tickets = itertools.count()
        self._waiters: dict[int, _Waiter] = {}
        self._taken: set[Slot] = set()
        self.changed = asyncio.Event()
        """Set whenever something may have changed that others are told of."""

    async def take(self, model: Model, ask: Ask) -> Slot:
        """Wait for a place on a worker of `model`, which must be given back. Raises RefusedError, MovedError."""
        now = time.monotonic()
        ticket = next(self._tickets)
        effects = self._switchboard.arrive(ticket, model, ask, now)
        if len(effects) != 1 or not isinstance(grant := effects[0], Granted) or grant.ticket != ticket:
            return await self._waited(ticket, model, ask, effects, now)
        return self._granted(grant, model, now, ask.waited)

    def take_now(self, model: Model, cost: float) -> Slot | None:
        """A place that can be had without waiting, which must be given back; None where `take` must decide."""
        now = time.monotonic()
        grant = self._switchboard.at_once(model, cost, now)
        return self._granted(grant, model, now, 0.0) if grant is not None else None

    def _granted(self, grant: Granted, model: Model, now: float, waited: float) -> Slot:
        self.changed.set()
        self._metrics.decisions.labels("admit", "slot_free", model.name).inc()
        slot = Slot(self, grant.endpoint, grant.cost, now, waited, 0.0, grant)
        self._taken.add(slot)
        self._metrics.queue_seconds.observe(model.name, waited)
        return slot

    def give_back(self, slot: Slot) -> None:
        """The place is free again."""
        now = time.monotonic()
        self._taken.discard(slot)
        self._metrics.worker_seconds.observe(slot.endpoint.model, now - slot.began)
        self.do(self._switchboard.release(slot.grant, now, slot.outcome, now - slot.began))

    def is_warm(self, name: str) -> bool:
        """Whether a model has a worker that serves."""
        return self._switchboard.registry.is_warm(name)

    def adopt(self, slots: Iterable[Slot]) -> None:
        """Count slots that another desk gave out."""
        for slot in slots:
            slot.desk = self
            slot.grant = self._switchboard.adopt(slot.endpoint, slot.cost, time.monotonic())
            slot.endpoint = slot.grant.endpoint
            self._taken.add(slot)
        self.changed.set()

    def hand_over(self) -> list[Slot]:
        """The slots that are counted here, which somebody else counts from now on."""
        slots, self._taken = list(self._taken), set()
        for slot in slots:
            self.do(self._switchboard.release(slot.grant, time.monotonic()))
        return slots

    def send_away(self) -> None:
        """All who wait ask anew, those first who have waited longest."""
        for ticket in self._switchboard.evict():
            waiter = self._waiters.get(ticket)
            if waiter is not None and not waiter.future.done():
                waiter.future.set_exception(MovedError())
        self.changed.set()

    def do(self, effects: Iterable[Effect]) -> None:
        """Carry out what the switchboard said."""
        self.changed.set()
        for effect in effects:
            match effect:
                case Granted(ticket):
                    self._answer(ticket, effect)
                case Refused(ticket, refusal):
                    waiter = self._waiters.get(ticket)
                    if waiter is not None and not waiter.future.done():
                        waiter.future.set_exception(RefusedError(refusal))
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

    async def _waited(self, ticket: int, model: Model, ask: Ask, effects: list[Effect], asked: float) -> Slot:
        cold = not self._switchboard.registry.is_warm(model.name)
        if not any(isinstance(effect, Refused) for effect in effects):
            self._metrics.decisions.labels("hold", "cold" if cold else "busy", model.name).inc()
        waiter = self._waiters[ticket] = _Waiter(asyncio.get_running_loop().create_future(), ask, asked)
        try:
            self.do(effects)
            slot = await waiter.future
        except asyncio.CancelledError:
            self._switchboard.leave(model.name, ticket)
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                slot = waiter.future.result()
                slot.desk.give_back(slot)
            raise
        finally:
            self._waiters.pop(ticket, None)
        if slot.cold:
            self._metrics.cold_starts.labels(model.name).inc()
        self._metrics.queue_seconds.observe(model.name, slot.waited)
        return slot

    def _answer(self, ticket: int, grant: Granted) -> None:
        """The slot counts as taken at once: it may be handed over before its caller's turn comes."""
        waiter, now = self._waiters.get(ticket), time.monotonic()
        if waiter is None or waiter.future.done():
            self.do(self._switchboard.release(grant, now))
            return
        waited = waiter.ask.waited + now - waiter.asked
        slot = Slot(self, grant.endpoint, grant.cost, now, waited, grant.cold, grant)
        self._taken.add(slot)
        waiter.future.set_result(slot)
