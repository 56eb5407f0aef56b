"""What activity decided about a model's workers, as the status tells it."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from stoker_contracts.resources.schema import Wire

MAX_DECISIONS = 5


class ScalingReason(StrEnum):
    """Why the number of workers was changed, or was not."""

    WAKE = "Wake"
    """A job came for a model without a worker."""
    QUEUE = "Queue"
    """The work in line takes longer than the target."""
    IDLE = "Idle"
    """Fewer workers would have done for all of `idleAfter`."""
    BOUNDS = "Bounds"
    """The bounds of the resource were changed."""
    MAKE_ROOM = "MakeRoom"
    """Another model is asked for and no device is free."""
    WAITS_FOR_ROOM = "WaitsForRoom"
    """No device is free, and another model is about to make room."""


class ScalingDecision(Wire):
    """One decision."""

    time: datetime = Field(description="When it was made.")
    before: int = Field(ge=0, description="Workers that were asked for until then.")
    after: int = Field(ge=0, description="Workers that are asked for since.")
    reason: ScalingReason = Field(description="Why, for programs.")
    message: str = Field(default="", max_length=512, description="Why, for people.")


class ScalingStatus(Wire):
    """What activity decided. Written by the orchestrator alone."""

    decisions: list[ScalingDecision] = Field(
        default_factory=list, max_length=MAX_DECISIONS, description="The last decisions, the newest last."
    )
