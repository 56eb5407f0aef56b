"""The port between the orchestrator and whatever runs the workers."""

from collections.abc import Callable, Sequence
from typing import Protocol

from stoker_contracts.resources.conditions import Verdict
from stoker_contracts.resources.scaling import ScalingDecision
from stoker_orchestrator.domain.events import FleetEvent
from stoker_orchestrator.domain.health import Report

Sink = Callable[[FleetEvent], None]
"""Takes the fleet's events, on the event loop, in the order in which they happened."""


class FleetError(Exception):
    """The fleet could not do what it was asked; it may be asked again."""


class Fleet(Protocol):
    """Workers somewhere."""

    async def run(self, sink: Sink) -> None:
        """Tell everything that is there, then `Synced`, then every change, until cancelled."""

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        """Ask for so many workers, provided that `expected` is what was asked for until now.

        Where somebody has asked for another number meanwhile, nothing happens: the next event tells it. Raises FleetError.
        """

    async def rank(self, endpoint: str, cost: int) -> None:
        """Say how much it would cost to end this worker: when workers must go, the cheapest go first. Raises FleetError."""

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """Show how a model is advertised where its owner looks. Raises FleetError."""

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        """Show the last scaling decisions of a model where its owner looks, the newest last. Raises FleetError."""

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        """Show how the external containers of a model are where its owner looks; none where it has none. Raises FleetError."""
