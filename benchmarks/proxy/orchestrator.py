"""The orchestrator under measurement: its own process and job path, over a fleet of one upstream that is always ready."""

import asyncio
import sys
from collections.abc import Sequence

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.conditions import Verdict
from stoker_contracts.resources.scaling import ScalingDecision
from stoker_orchestrator.adapters.fleets.port import Sink
from stoker_orchestrator.app.process import serve
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.domain.events import EndpointSeen, ModelSeen, Synced
from stoker_orchestrator.domain.health import Report
from stoker_orchestrator.domain.model import EndpointState, Model

MODELS = (
    Model("small", Pipeline.TEXT_TO_IMAGE, "bench/small", warm=True),
    Model("large", Pipeline.TEXT_TO_IMAGE, "bench/large", warm=True),
    Model("both", Pipeline.IMAGE_TO_IMAGE, "bench/large", warm=True),
)
CAPACITY = 64
"""Jobs that each model's worker takes: as many as there are callers, so that nobody waits in line."""


class StaticFleet:
    """All models on one address; nothing ever changes."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def run(self, sink: Sink) -> None:
        """Tell everything at once, then nothing more."""
        for model in MODELS:
            sink(ModelSeen(model))
            sink(EndpointSeen(f"{model.name}-worker", model.name, self._address, CAPACITY, EndpointState.READY))
        sink(Synced())
        await asyncio.Event().wait()

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        """All models are warm."""

    async def rank(self, endpoint: str, cost: int) -> None:
        """Nothing is ever ended."""

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        """There is nowhere to show them."""

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        """There are none of somebody else's."""

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """There is nowhere to show it."""


if __name__ == "__main__":
    port, worker = sys.argv[1:]
    settings = Settings(namespace="benchmark", host="127.0.0.1", port=int(port), drain_seconds=0)
    sys.exit(serve(settings, lambda _: StaticFleet(f"127.0.0.1:{worker}")))
