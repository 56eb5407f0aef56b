"""The port between the orchestrator and whatever runs the workers."""

from collections.abc import Callable
from typing import Protocol

from stoker_contracts.resources.conditions import Verdict
from stoker_orchestrator.domain.events import FleetEvent

Sink = Callable[[FleetEvent], None]
"""Takes the fleet's events, on the event loop, in the order in which they happened."""


class FleetError(Exception):
    """The fleet could not do what it was asked; it may be asked again."""


class Fleet(Protocol):
    """Workers somewhere."""

    async def run(self, sink: Sink) -> None:
        """Tell everything that is there, then `Synced`, then every change, until cancelled."""

    async def wake(self, model: str) -> None:
        """Start a first worker of a model that has none; asking twice is the same as once. Raises FleetError."""

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """Show how a model is advertised where its owner looks. Raises FleetError."""
