"""Feeds the switchboard from asyncio and does what it says: callers wait on futures, the fleet is woken, changes are published."""

import asyncio
import itertools
import logging
import time
from collections import Counter as Count
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from stoker_contracts.capabilities import Capabilities
from stoker_contracts.resources.conditions import Verdict
from stoker_orchestrator.adapters.fleets.port import Fleet, FleetError
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.advertise import Advertiser, verdict
from stoker_orchestrator.domain.events import FleetEvent
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Model
from stoker_orchestrator.domain.switchboard import Effect, Granted, Refused, Switchboard, Wake

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
PUBLISH_SECONDS = 0.02
"""Changes within so short a time are told together."""
_WAKE_AGAIN_SECONDS = 2.0
_SHOW_AGAIN_SECONDS = 1.0


class RefusedError(Exception):
    """The job is not served; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(slots=True)
class Slot:
    """A place on a worker since `began`. `served` is set where the job ended well, so that its time counts."""

    grant: Granted
    endpoint: Endpoint
    began: float
    waited: float
    cold: bool
    served: bool = False


class Broker:
    """One switchboard, one fleet."""

    def __init__(self, switchboard: Switchboard, fleet: Fleet, advertiser: Advertiser, metrics: Metrics) -> None:
        self.switchboard = switchboard
        self.registry = switchboard.registry
        self._fleet = fleet
        self._advertiser = advertiser
        self._metrics = metrics
        self._tickets = itertools.count()
        self._callers: dict[int, asyncio.Future[Granted]] = {}
        self._woken: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._shown: dict[str, Verdict] = {}
        self._changed = asyncio.Event()
        self._published = asyncio.Condition()
        self._unshown = asyncio.Event()

    async def run(self) -> None:
        """Follow the fleet, let time pass, publish changes; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fleet.run(self.apply))
            group.create_task(self._tick())
            group.create_task(self._publish())
            group.create_task(self._show())

    def apply(self, event: FleetEvent) -> None:
        """The fleet changed."""
        self._do(self.switchboard.apply(event))

    async def take(self, model: Model, cost: float, excluded: Collection[str] = ()) -> Slot:
        """Wait for a place on a worker of `model`, which must be given to `give_back`. Raises RefusedError."""
        asked = time.monotonic()
        ticket = next(self._tickets)
        effects = self.switchboard.arrive(ticket, model, cost, asked, excluded)
        if len(effects) == 1 and isinstance(grant := effects[0], Granted):
            self._changed.set()
            slot = Slot(grant, grant.endpoint, asked, 0.0, cold=False)
        else:
            cold = not self.registry.is_warm(model.name)
            grant = await self._waited(ticket, model, effects)
            slot = Slot(grant, grant.endpoint, began := time.monotonic(), began - asked, cold)
        self._metrics.queue_seconds.observe(model.name, slot.waited)
        return slot

    def give_back(self, slot: Slot) -> None:
        """The place is free again."""
        seconds = time.monotonic() - slot.began
        self._metrics.worker_seconds.observe(slot.endpoint.model, seconds)
        self._do(self.switchboard.release(slot.grant, seconds if slot.served else None))

    async def _waited(self, ticket: int, model: Model, effects: list[Effect]) -> Granted:
        future: asyncio.Future[Granted] = asyncio.get_running_loop().create_future()
        self._callers[ticket] = future
        try:
            self._do(effects)
            return await future
        except asyncio.CancelledError:
            self.switchboard.leave(model.name, ticket)
            if future.done() and not future.cancelled() and future.exception() is None:
                self._do(self.switchboard.release(future.result()))
            raise
        finally:
            self._callers.pop(ticket, None)

    def _do(self, effects: list[Effect]) -> None:
        self._changed.set()
        for effect in effects:
            match effect:
                case Granted(ticket):
                    self._answer(ticket, effect)
                case Refused(ticket, refusal):
                    caller = self._callers.get(ticket)
                    if caller is not None and not caller.done():
                        caller.set_exception(RefusedError(refusal))
                case Wake(model):
                    self._wake(model)

    def _answer(self, ticket: int, grant: Granted) -> None:
        caller = self._callers.get(ticket)
        if caller is None or caller.done():
            self._do(self.switchboard.release(grant))
        else:
            caller.set_result(grant)

    def _wake(self, name: str) -> None:
        """Ask once for a first worker; the asking outlives the caller who caused it."""
        now = time.monotonic()
        if now - self._woken.get(name, -_WAKE_AGAIN_SECONDS) < _WAKE_AGAIN_SECONDS:
            return
        self._woken[name] = now
        self._metrics.wakes.labels(name).inc()
        task = asyncio.create_task(self._ask_fleet(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_fleet(self, name: str) -> None:
        try:
            await self._fleet.wake(name)
        except FleetError as error:
            log.warning("%s could not be woken, will be asked for again: %s", name, error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            effects = self.switchboard.expire(time.monotonic())
            if effects:
                self._do(effects)

    def capabilities(self) -> Capabilities:
        """What is advertised now."""
        return self._advertiser.document(self.registry, self.switchboard.waiting)

    async def changes(self) -> AsyncIterator[Capabilities]:
        """The document now, then again after each change, for ever. A slow reader misses steps between, never the last."""
        seen = -1
        while True:
            document = self.capabilities()
            if document.generation != seen:
                seen = document.generation
                yield document
            async with self._published:
                await self._published.wait()

    async def _publish(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._measure()
            async with self._published:
                self._published.notify_all()
            self._unshown.set()
            await asyncio.sleep(PUBLISH_SECONDS)

    def _measure(self) -> None:
        states = Count(endpoint.state for endpoint in self.registry.endpoints)
        for state in EndpointState:
            self._metrics.endpoints.labels(state.value).set(states[state])
        for model in self.registry.models:
            in_flight = sum(endpoint.in_flight for endpoint in self.registry.endpoints_of(model.name))
            self._metrics.in_flight.labels(model.name).set(in_flight)
            self._metrics.waiting.labels(model.name).set(self.switchboard.waiting(model.name))
        self._metrics.generation.set(self.capabilities().generation)

    async def _show(self) -> None:
        """Write the condition of each model whose verdict changed; apart from publishing, which must not wait for the fleet."""
        while True:
            await self._unshown.wait()
            self._unshown.clear()
            if not self.registry.synced:
                continue
            for model in self.registry.models:
                await self._show_one(model)
            for gone in self._shown.keys() - {model.name for model in self.registry.models}:
                del self._shown[gone]

    async def _show_one(self, model: Model) -> None:
        now = verdict(self.registry, model)
        if self._shown.get(model.name) == now:
            return
        try:
            await self._fleet.advertise(model.name, now)
            self._shown[model.name] = now
        except FleetError as error:
            log.warning("how %s is advertised could not be shown, will be tried again: %s", model.name, error)
            asyncio.get_running_loop().call_later(_SHOW_AGAIN_SECONDS, self._unshown.set)
