"""Serve, hold, or refuse: decided before a job waits or runs."""

import math
from dataclasses import dataclass

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.domain.hold import Ask, Line
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.router import choose

_LONGEST_RETRY_AFTER = 300
_CERTAINTY = 0.8
"""A wait may turn out longer than it was estimated. Who would be refused in the end is better refused at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a model's line may get: in jobs, and in seconds of declared work for each slot that it has or may get."""

    jobs: int = 1000
    seconds: float = 600.0


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
    registry: Registry, model: Model, line: Line | None, ask: Ask, limits: Limits, *, paused: bool = False
) -> Endpoint | Hold | Refusal:
    """What becomes of a job that comes now: an endpoint is where it runs at once, and nowhere while all is `paused`.

    Who waits already goes first, so a free slot serves only an empty line. A job that lost its worker goes before all.
    """
    endpoint = None if paused or (line and not ask.again) else choose(registry.endpoints_of(model.name), ask.cost, ask.excluded)
    if endpoint is not None:
        return endpoint
    others = [each for each in registry.endpoints_of(model.name) if each.recovered or each.id not in ask.excluded]
    refusal = _hopeless(registry, model, others) or (None if ask.again else _crowded(registry, model, line, ask, limits))
    return refusal or Hold(wake=not any(each.coming for each in others))


def _hopeless(registry: Registry, model: Model, others: list[Endpoint]) -> Refusal | None:
    if registry.is_warm(model.name):
        return None
    if stuck(registry, model):
        return unavailable(model)
    if not others and not model.startable:
        words = f"{model.model_id} has no worker, and none may be started"
        return Refusal(503, ErrorType.MODEL_UNAVAILABLE, words, "not_startable", 30)
    return None


def _crowded(registry: Registry, model: Model, line: Line | None, ask: Ask, limits: Limits) -> Refusal | None:
    waiting, work = (len(line), line.work) if line is not None else (0, 0.0)
    again = retry_after(registry, model, work)
    if waiting >= limits.jobs:
        words = f"{waiting} jobs wait for {model.model_id} already; try again in {again} s"
        return Refusal(429, ErrorType.OVERLOADED, words, "line_full", again)
    most = model.scaling.most * model.capacity if model.scaling is not None else 0
    seconds = registry.rates.seconds(model.name, work) / max(1, most, registry.slots(model.name))
    if waiting and seconds >= limits.seconds:
        words = f"the jobs that wait for {model.model_id} will take {math.ceil(seconds)} s already; try again in {again} s"
        return Refusal(429, ErrorType.OVERLOADED, words, "line_work", again)
    wait = registry.estimated_wait(model.name, work) if registry.is_warm(model.name) else 0.0
    if ask.patience is not None and wait / _CERTAINTY + registry.expected(model.name, ask.cost) > ask.patience:
        words = f"{model.model_id} would begin this job in about {math.ceil(wait)} s, which is too late for it"
        return Refusal(503, ErrorType.OVERLOADED, words, "deadline", again)
    return None


def retry_after(registry: Registry, model: Model, work: float) -> int:
    """Seconds until the line will be half as long, by the declared work in it; at least 1, at most 300."""
    return min(max(1, math.ceil(registry.estimated_wait(model.name, work) / 2)), _LONGEST_RETRY_AFTER)


def stuck(registry: Registry, model: Model) -> bool:
    """Whether waiting for a worker is of no use as things stand."""
    if model.obstacle is None or registry.is_warm(model.name):
        return False
    return not model.obstacle.of_room or model.name in registry.roomless


def unavailable(model: Model) -> Refusal:
    """No endpoint can ever serve the model as things stand."""
    assert model.obstacle is not None  # noqa: S101 - the caller has looked
    words = f"{model.model_id} cannot be served: {model.obstacle.message}"
    return Refusal(503, ErrorType.MODEL_UNAVAILABLE, words, model.obstacle.reason, retry_after=60)
