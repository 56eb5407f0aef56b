"""What a fleet tells: models and endpoints as they come, change and go."""

from dataclasses import dataclass

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
    """An endpoint is there, or its state changed. A restarted worker is a new endpoint with an id of its own."""

    id: str
    model: str
    address: str
    capacity: int
    state: EndpointState


@dataclass(frozen=True, slots=True)
class EndpointGone:
    """An endpoint is no more."""

    id: str


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that was there at the start has been told."""


FleetEvent = ModelSeen | ModelGone | EndpointSeen | EndpointGone | Synced
