"""What a fleet tells: models and endpoints as they come, change and go."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker_orchestrator.domain.model import EndpointState, Model


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """A model is there, or is different from before."""

    model: Model


@dataclass(frozen=True, slots=True)
class ModelGone:
    """A model is no longer offered."""

    name: str


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """An endpoint is there, or its state changed. A restarted worker is a new endpoint with an id of its own.

    What the fields mean stands at `Endpoint`.
    """

    id: str
    model: str
    address: str
    capacity: int
    state: EndpointState
    node: str = ""
    devices: Mapping[str, int] = field(default_factory=dict)
    no_room: str = ""
    pulse: bool = True
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class EndpointGone:
    """An endpoint is no more."""

    id: str


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that was there at the start has been told."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether the fleet sees its workers. What is known stays true for jobs while it does not; nothing is scaled then."""

    clear: bool


FleetEvent = ModelSeen | ModelGone | EndpointSeen | EndpointGone | Synced | Sight
