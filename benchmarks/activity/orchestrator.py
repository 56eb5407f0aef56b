"""The orchestrator under measurement: its own process, over a fleet of workers that are told on the command line.

``python -m benchmarks.activity.orchestrator PORT CAPACITY LINE_LIMIT WORKER...`` serves the model ``bench`` (`bench/model`), whose
workers are the addresses that follow. With the variable ``COLD`` set they become ready on SIGUSR1, as a started worker would.
"""

import asyncio
import os
import signal
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
from stoker_orchestrator.domain.model import Bounds, EndpointState, Model

NAME, MODEL_ID = "bench", "bench/model"


class TimedFleet:
    """One model whose workers are there at once, or when a signal says so; nothing else ever changes."""

    def __init__(self, addresses: Sequence[str], capacity: int, *, cold: bool) -> None:
        self._addresses = addresses
        self._capacity = capacity
        self._ready = asyncio.Event()
        if not cold:
            self._ready.set()

    async def run(self, sink: Sink) -> None:
        """Tell the model, then its workers."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._ready.set)
        scaling = Bounds(most=len(self._addresses))
        sink(ModelSeen(Model(NAME, Pipeline.TEXT_TO_IMAGE, MODEL_ID, capacity=self._capacity, scaling=scaling)))
        sink(Synced())
        await self._ready.wait()
        for number, address in enumerate(self._addresses):
            sink(EndpointSeen(f"worker-{number}", NAME, address, self._capacity, EndpointState.READY))
        await asyncio.Event().wait()

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        """The signal brings the workers."""

    async def rank(self, endpoint: str, cost: int) -> None:
        """Nothing is ever ended."""

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """There is nowhere to show it."""

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        """There are none of somebody else's."""

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        """There is nowhere to show them."""


if __name__ == "__main__":
    port, capacity, limit, *workers = sys.argv[1:]
    settings = Settings(
        namespace="benchmark",
        host="127.0.0.1",
        port=int(port),
        drain_seconds=0,
        line_limit=int(limit),
        log_level="WARNING",
        max_connections=10_000,
    )
    sys.exit(serve(settings, lambda _: TimedFleet(workers, int(capacity), cold="COLD" in os.environ)))
