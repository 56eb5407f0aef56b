"""Models, endpoints and a fleet that a test plays itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.conditions import Verdict
from stoker_contracts.resources.scaling import ScalingDecision
from stoker_orchestrator.adapters.fleets.port import FleetError, Sink
from stoker_orchestrator.domain.events import EndpointSeen, FleetEvent, ModelSeen, Synced
from stoker_orchestrator.domain.health import Report
from stoker_orchestrator.domain.model import EndpointState, Model


def model(name: str = "m", **others: Any) -> Model:
    """A text-to-image model named `name` with the id ``org/<name>``."""
    return Model(**({"name": name, "pipeline": Pipeline.TEXT_TO_IMAGE, "model_id": f"org/{name}"} | others))


def endpoint(
    identity: str, of: str = "m", capacity: int = 1, state: EndpointState = EndpointState.READY, **others: Any
) -> EndpointSeen:
    """A worker of the model `of`."""
    return EndpointSeen(identity, of, others.pop("address", "127.0.0.1:9"), capacity, state, **others)


class PlayedFleet:
    """Tells what the test tells it, and remembers what it was asked."""

    def __init__(self, *events: FleetEvent) -> None:
        self.scaled: list[tuple[str, int]] = []
        self.ranks: dict[str, int] = {}
        self.explained: dict[str, list[ScalingDecision]] = {}
        self.shown: dict[str, Verdict] = {}
        self.reported: dict[str, list[Report]] = {}
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

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        self.scaled.append((model, replicas))
        if self.broken:
            message = "away"
            raise FleetError(message)

    async def rank(self, endpoint: str, cost: int) -> None:
        self.ranks[endpoint] = cost

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        self.explained[model] = list(decisions)

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        if self.broken:
            message = "away"
            raise FleetError(message)
        self.reported[model] = list(endpoints)

    async def advertise(self, model: str, verdict: Verdict) -> None:
        if self.broken:
            message = "away"
            raise FleetError(message)
        self.shown[model] = verdict


def seen(*models: Model) -> list[FleetEvent]:
    """The events that tell of `models`."""
    return [ModelSeen(each) for each in models]
