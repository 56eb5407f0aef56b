"""How the external containers of a model are, as the status tells it."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from stoker_contracts.resources.schema import Wire

MAX_ENDPOINTS = 16
MAX_MESSAGE = 512


class EndpointPhase(StrEnum):
    """What an external container does, in one word."""

    READY = "Ready"
    LOADING = "Loading"
    """It will take jobs when its model is loaded."""
    DOWN = "Down"


class EndpointStatus(Wire):
    """One entry of `spec.external.endpoints`. Written by the orchestrator; it never holds an address or a token."""

    index: int = Field(ge=0, le=MAX_ENDPOINTS - 1, description="Which entry of spec.external.endpoints it is, from 0.")
    state: EndpointPhase = Field(description="What it does, in one word.")
    reason: str = Field(min_length=1, max_length=64, description="Why, for programs.")
    message: str = Field(default="", max_length=MAX_MESSAGE, description="Why, for people.")
    since: datetime = Field(description="Since when.")
    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that it speaks of.")
