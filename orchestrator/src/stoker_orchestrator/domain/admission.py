"""Serve, hold, or refuse: decided before a job waits or runs."""

from collections.abc import Collection
from dataclasses import dataclass

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.router import choose


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job is not taken. `retry_after` is in seconds; None where trying again will not help."""

    status: int
    kind: ErrorType
    message: str
    code: str | None = None
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Let it wait in the model's line; `wake` asks the fleet for a first worker."""

    wake: bool


def admit(
    registry: Registry, model: Model, waiting: int, line_limit: int, excluded: Collection[str] = ()
) -> Endpoint | Hold | Refusal:
    """What becomes of a job that comes now: an endpoint is where it runs at once.

    Who waits already goes first, so a free slot serves only an empty line.
    """
    endpoint = None if waiting else choose(registry.endpoints_of(model.name), excluded)
    if endpoint is not None:
        return endpoint
    others = [each for each in registry.endpoints_of(model.name) if each.id not in excluded]
    if not registry.is_warm(model.name):
        if model.obstacle is not None:
            return unavailable(model)
        if not others and not model.startable:
            words = f"{model.model_id} has no worker, and none may be started"
            return Refusal(503, ErrorType.MODEL_UNAVAILABLE, words, "not_startable", 30)
    if waiting >= line_limit:
        words = f"{waiting} jobs wait for {model.model_id} already; try again later"
        return Refusal(429, ErrorType.OVERLOADED, words, "line_full", retry_after=5)
    return Hold(wake=not any(each.coming for each in others))


def unavailable(model: Model) -> Refusal:
    """No endpoint can ever serve the model as things stand."""
    assert model.obstacle is not None  # noqa: S101 - the caller has looked
    words = f"{model.model_id} cannot be served: {model.obstacle.message}"
    return Refusal(503, ErrorType.MODEL_UNAVAILABLE, words, model.obstacle.reason, retry_after=60)
