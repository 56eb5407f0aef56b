"""What the orchestrator knows at one moment, told for people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stoker_contracts.overview import (
    LineOverview,
    ModelOverview,
    ModelState,
    OrchestratorOverview,
    Overview,
    WorkerOverview,
    WorkerState,
)
from stoker_contracts.resources.scaling import MAX_DECISIONS, ScalingDecision, ScalingReason
from stoker_orchestrator.domain.admission import stuck
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Leaving, Model
from stoker_orchestrator.domain.placement import Wait
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Switchboard


@dataclass(frozen=True, slots=True)
class Identity:
    """Which orchestrator tells, and whether it is the one that decides for all."""

    name: str
    version: str
    leading: bool = True


def overview(
    about: Identity,
    switchboard: Switchboard,
    decisions: Callable[[str], tuple[ScalingDecision, ...]],
    waits: Mapping[str, Wait],
    now: float,
) -> Overview:
    """The document of ``GET /status``.

    `decisions` gives the last ones about a model that were made here, `waits` tells who waits for whom; `now` is on the
    orchestrator's clock.
    """
    registry = switchboard.registry
    blind = None if registry.blind_since is None else now - registry.blind_since
    return Overview(
        orchestrator=OrchestratorOverview(
            name=about.name, version=about.version, leading=about.leading, synced=registry.synced, blind_seconds=blind
        ),
        models=tuple(_model(switchboard, model, decisions(model.name), waits.get(model.name), now) for model in registry.models),
    )


def _model(
    switchboard: Switchboard, model: Model, decisions: tuple[ScalingDecision, ...], wait: Wait | None, now: float
) -> ModelOverview:
    registry, scaling = switchboard.registry, model.scaling
    state, reason, message = _state(registry, model, wait)
    return ModelOverview(
        name=model.name,
        pipeline=model.pipeline,
        model_id=model.model_id,
        warm=model.warm,
        replicas=model.replicas,
        min_replicas=scaling.least if scaling is not None else None,
        max_replicas=scaling.most if scaling is not None else None,
        state=state,
        reason=reason,
        message=message,
        waits_for=wait.others if wait is not None and state is ModelState.WAITS else (),
        workers=tuple(_worker(registry, endpoint) for endpoint in registry.endpoints_of(model.name)),
        line=_line(switchboard, model, now),
        decisions=_last(model.decisions, decisions),
    )


def _last(shown: tuple[ScalingDecision, ...], made: tuple[ScalingDecision, ...]) -> tuple[ScalingDecision, ...]:
    """Decisions of all orchestrators: those that the resource shows, and those that are not written there yet."""
    by_time = {decision.time: decision for decision in (*shown, *made)}
    return tuple(by_time[time] for time in sorted(by_time))[-MAX_DECISIONS:]


def _state(registry: Registry, model: Model, wait: Wait | None) -> tuple[ModelState, str, str]:
    """The state with its reason and its sentence, in the order in which admission looks."""
    if registry.is_warm(model.name):
        return ModelState.SERVING, "", ""
    hindered = _hindered(registry, model, wait)
    if hindered is not None:
        return hindered
    coming = [endpoint for endpoint in registry.endpoints_of(model.name) if endpoint.coming]
    if coming:
        return ModelState.STARTING, "", next((endpoint.no_room for endpoint in coming if endpoint.no_room), "")
    if model.startable:
        return ModelState.COLD, "", ""
    return ModelState.STOPPED, "", "it has no worker, and none may be started"


def _hindered(registry: Registry, model: Model, wait: Wait | None) -> tuple[ModelState, str, str] | None:
    """What stands in the way of a first worker, for good or until another model makes room; None where nothing does."""
    if model.obstacle is not None and stuck(registry, model):
        return ModelState.UNAVAILABLE, model.obstacle.reason, model.obstacle.message
    if wait is not None:
        return ModelState.WAITS, ScalingReason.WAITS_FOR_ROOM, wait.message
    return (ModelState.WAITS, model.obstacle.reason, model.obstacle.message) if model.obstacle is not None else None


def _worker(registry: Registry, endpoint: Endpoint) -> WorkerOverview:
    known = registry.rates.known(endpoint.model)
    per_unit = registry.rates.per_unit(endpoint.model) * endpoint.pace
    return WorkerOverview(
        id=endpoint.id,
        node=endpoint.node,
        device=endpoint.runner.device if endpoint.runner is not None else "",
        state=_worker_state(endpoint),
        message=endpoint.trouble or endpoint.no_room,
        in_flight=endpoint.in_flight,
        capacity=endpoint.capacity,
        work_seconds=endpoint.work * per_unit if known else None,
        ms_per_unit=per_unit * 1000 if known else None,
    )


def _worker_state(endpoint: Endpoint) -> WorkerState:
    if endpoint.state is EndpointState.DRAINING:
        return WorkerState.DRAINING
    if endpoint.ejected:
        return WorkerState.EJECTED
    if endpoint.leaving is not Leaving.STAYS:
        return WorkerState.LEAVING
    return WorkerState(endpoint.state.value)


def _line(switchboard: Switchboard, model: Model, now: float) -> LineOverview:
    registry, crowd = switchboard.registry, switchboard.crowd(model.name, now)
    return LineOverview(
        waiting=crowd.waiting,
        callers=crowd.callers,
        work_seconds=registry.rates.seconds(model.name, crowd.work) if registry.rates.known(model.name) else None,
        oldest_seconds=crowd.oldest,
        estimated_wait_ms=round(registry.estimated_wait(model.name, crowd.work) * 1000),
    )
