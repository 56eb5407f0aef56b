"""What others are told of the orchestrator's state: the capability document, and each model's condition."""

import asyncio
import logging
from collections.abc import AsyncIterator

from stoker_contracts.capabilities import Capabilities
from stoker_contracts.resources.conditions import Verdict
from stoker_orchestrator.adapters.fleets.port import Fleet, FleetError
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.domain.advertise import Advertiser, verdict
from stoker_orchestrator.domain.model import Model
from stoker_orchestrator.domain.switchboard import Switchboard

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 0.02
"""Changes within so short a time are told together."""
_SHOW_AGAIN_SECONDS = 1.0


class Publisher:
    """Tells what the switchboard knows, soon after `changed` is set."""

    def __init__(
        self, switchboard: Switchboard, fleet: Fleet, advertiser: Advertiser, metrics: Metrics, changed: asyncio.Event
    ) -> None:
        self._switchboard = switchboard
        self._registry = switchboard.registry
        self._fleet = fleet
        self._advertiser = advertiser
        self._metrics = metrics
        self._changed = changed
        self._shown: dict[str, Verdict] = {}
        self._published = asyncio.Condition()
        self._number = 0
        self._unshown = asyncio.Event()

    async def run(self) -> None:
        """Publish changes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish())
            group.create_task(self._show())

    def capabilities(self) -> Capabilities:
        """What is advertised now."""
        return self._advertiser.document(self._registry, self._switchboard.work)

    async def changes(self) -> AsyncIterator[Capabilities]:
        """The document now, then again after each change, for ever. A slow reader misses steps between, never the last."""
        seen = -1
        while True:
            number, document = self._number, self.capabilities()
            if document.generation != seen:
                seen = document.generation
                yield document
            await self.after(number)

    async def after(self, number: int) -> int:
        """Wait until the newest change is another one than this; returns its number."""
        async with self._published:
            await self._published.wait_for(lambda: self._number != number)
        return self._number

    async def _publish(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._metrics.generation.set(self.capabilities().generation)
            self._number += 1
            async with self._published:
                self._published.notify_all()
            self._unshown.set()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def _show(self) -> None:
        """Write the condition of each model whose verdict changed; apart from publishing, which must not wait for the fleet."""
        while True:
            await self._unshown.wait()
            self._unshown.clear()
            if not self._registry.synced:
                continue
            for model in self._registry.models:
                await self._show_one(model)
            for gone in self._shown.keys() - {model.name for model in self._registry.models}:
                del self._shown[gone]

    async def _show_one(self, model: Model) -> None:
        now = verdict(self._registry, model)
        if self._shown.get(model.name) == now:
            return
        try:
            await self._fleet.advertise(model.name, now)
            self._shown[model.name] = now
        except FleetError as error:
            log.warning("how %s is advertised could not be shown, will be tried again: %s", model.name, error)
            asyncio.get_running_loop().call_later(_SHOW_AGAIN_SECONDS, self._unshown.set)
