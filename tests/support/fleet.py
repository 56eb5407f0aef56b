"""Models, endpoints and a fleet that a test plays itself."""

import asyncio
from typing import Any

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.conditions import Verdict
from stoker_orchestrator.adapters.fleets.port import FleetError, Sink
from stoker_orchestrator.domain.events import EndpointSeen, FleetEvent, ModelSeen, Synced
from stoker_orchestrator.domain.model import EndpointState, Model


def model(name: str = "m", **others: Any) -> Model:
    """A text-to-image model named `name` with the id ``org/<name>``."""
    return Model(**({"name": name, "pipeline": Pipeline.TEXT_TO_IMAGE, "model_id": f"org/{name}"} | others))


def endpoint(
    identity: str, of: str = "m", capacity: int = 1, state: EndpointState = EndpointState.READY, address: str = "127.0.0.1:9"
) -> EndpointSeen:
    """A worker of the model `of`."""
    return EndpointSeen(identity, of, address, capacity, state)


class PlayedFleet:
    """Tells what the test tells it, and remembers what it was asked."""

    def __init__(self, *events: FleetEvent) -> None:
        self.woken: list[str] = []
        self.shown: dict[str, Verdict] = {}
        self.broken = False
        self._events = [*events, Synced()]
        self._sink: Sink | None = None

    async def run(self, sink: Sink) -> None:
        self._sink = sink
        for event in self._events:
            sink(event)
        await asyncio.Event().wait()

    def tell(self, event: FleetEvent) -> None:
        assert self._sink is not None
        self._sink(event)

    async def wake(self, model: str) -> None:
        self.woken.append(model)
        if self.broken:
            message = "away"
            raise FleetError(message)

    async def advertise(self, model: str, verdict: Verdict) -> None:
        if self.broken:
            message = "away"
            raise FleetError(message)
        self.shown[model] = verdict


def seen(*models: Model) -> list[FleetEvent]:
    """The events that tell of `models`."""
    return [ModelSeen(each) for each in models]
