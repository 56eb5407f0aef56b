"""Feeds the switchboard from asyncio and does what it says: the fleet is followed, woken, probed."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from stoker_orchestrator.adapters.fleets.port import Fleet
from stoker_orchestrator.adapters.probe import Prober
from stoker_orchestrator.app.desk import LocalDesk, Slot
from stoker_orchestrator.app.introductions import Introductions
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.peers.desk import SwitchingDesk
from stoker_orchestrator.app.publisher import Publisher
from stoker_orchestrator.app.scaling import Scaler
from stoker_orchestrator.domain.advertise import Advertiser
from stoker_orchestrator.domain.autoscaler import RESIDENCY_SECONDS
from stoker_orchestrator.domain.events import EndpointSeen, FleetEvent, ModelGone
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.outliers import Ejected, Probe, Readmitted
from stoker_orchestrator.domain.scaling import Scaling
from stoker_orchestrator.domain.switchboard import Effect, Switchboard, Wake

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1


class Broker:
    """One switchboard, one fleet."""

    def __init__(
        self,
        switchboard: Switchboard,
        fleet: Fleet,
        prober: Prober,
        advertiser: Advertiser,
        metrics: Metrics,
        residency: float = RESIDENCY_SECONDS,
    ) -> None:
        self.switchboard = switchboard
        self.registry = switchboard.registry
        self.local = LocalDesk(switchboard, metrics, self._act)
        self.desk = SwitchingDesk(self.local)
        self.publisher = Publisher(switchboard, fleet, advertiser, metrics, self.local.changed)
        self.may_write: Callable[[], bool] = lambda: True
        """Whether this orchestrator is the one that writes what activity decides; one without peers is."""
        self._fleet = fleet
        self._prober = prober
        self._metrics = metrics
        self.scaler = Scaler(Scaling(switchboard, time.monotonic(), residency), fleet, metrics, lambda: self.leading, self._look)
        self._introductions = Introductions(self.registry, prober.introduce, self.local.changed.set)
        self._probed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the fleet, let time pass, publish changes; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fleet.run(self.apply))
            group.create_task(self._tick())
            group.create_task(self.publisher.run())
            group.create_task(self.scaler.run())

    def apply(self, event: FleetEvent) -> None:
        """The fleet changed."""
        if isinstance(event, ModelGone):
            self.scaler.forget(event.name)
        self.local.do(self.switchboard.apply(event, time.monotonic()))
        if isinstance(event, EndpointSeen):
            self._introductions.seen(event.id)

    @property
    def leading(self) -> bool:
        """Whether this orchestrator decides and writes how many workers run."""
        return self.may_write()

    def rouse(self) -> None:
        """Who leads has changed: what follows from that is done at once, and told."""
        self.scaler.rouse()
        self.local.changed.set()

    def take(self, model: Model, ask: Ask) -> Coroutine[Any, Any, Slot]:
        """Wait for a place on a worker of `model`, which must be given back. Raises RefusedError."""
        return self.desk.take(model, ask)

    def take_now(self, model: Model, cost: float) -> Slot | None:
        """A place that can be had without waiting, which must be given back; None where `take` must decide."""
        return self.desk.take_now(model, cost)

    def give_back(self, slot: Slot) -> None:
        """The place is free again."""
        slot.desk.give_back(slot)

    def _act(self, effect: Effect) -> None:
        match effect:
            case Wake(model):
                self.scaler.wake(model)
            case Probe(endpoint):
                self._begin(self._probe(endpoint))
            case Ejected(endpoint, reason):
                self._metrics.decisions.labels("eject", reason, endpoint.model).inc()
                log.warning("%s gets no more jobs (%s); it is probed until it answers", endpoint.id, reason)
            case Readmitted(endpoint):
                self._metrics.decisions.labels("readmit", "answered", endpoint.model).inc()
                log.info("%s answers again and gets jobs", endpoint.id)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else; it outlives the caller who caused it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look(self, name: str) -> None:
        """What activity decided changed who can serve a model."""
        self.local.do(self.switchboard.look(name, time.monotonic()))

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask once at a time, however often it is said to be due."""
        if endpoint.id in self._probed:
            return
        self._probed.add(endpoint.id)
        try:
            pulse = await self._prober.probe(endpoint.address)
            self.local.do(self.switchboard.probed(endpoint.id, pulse, time.monotonic()))
        finally:
            self._probed.discard(endpoint.id)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            effects = self.switchboard.expire(time.monotonic())
            if effects:
                self.local.do(effects)
