"""What the orchestrator knows at one moment, told for people."""

from stoker_contracts.overview import (
    LineOverview,
    ModelOverview,
    ModelState,
    OrchestratorOverview,
    Overview,
    WorkerOverview,
    WorkerState,
)
from stoker_orchestrator.domain.admission import stuck
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Leaving, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Switchboard


def overview(name: str, version: str, switchboard: Switchboard, now: float) -> Overview:
    """The document of ``GET /status`` for the orchestrator of this name and version; `now` is on its clock."""
    registry = switchboard.registry
    blind = None if registry.blind_since is None else now - registry.blind_since
    return Overview(
        orchestrator=OrchestratorOverview(name=name, version=version, synced=registry.synced, blind_seconds=blind),
        models=tuple(_model(switchboard, model, now) for model in registry.models),
    )


def _model(switchboard: Switchboard, model: Model, now: float) -> ModelOverview:
    registry, scaling = switchboard.registry, model.scaling
    state, reason, message = _state(registry, model)
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
        workers=tuple(_worker(registry, endpoint) for endpoint in registry.endpoints_of(model.name)),
        line=_line(switchboard, model, now),
    )


def _state(registry: Registry, model: Model) -> tuple[ModelState, str, str]:
    """The state with its reason and its sentence, in the order in which admission looks."""
    if registry.is_warm(model.name):
        return ModelState.SERVING, "", ""
    if model.obstacle is not None:
        state = ModelState.UNAVAILABLE if stuck(registry, model) else ModelState.WAITS
        return state, model.obstacle.reason, model.obstacle.message
    coming = [endpoint for endpoint in registry.endpoints_of(model.name) if endpoint.coming]
    if coming:
        return ModelState.STARTING, "", next((endpoint.no_room for endpoint in coming if endpoint.no_room), "")
    if model.startable:
        return ModelState.COLD, "", ""
    return ModelState.STOPPED, "", "it has no worker, and none may be started"


def _worker(registry: Registry, endpoint: Endpoint) -> WorkerOverview:
    known = registry.rates.known(endpoint.model)
    per_unit = registry.rates.per_unit(endpoint.model, endpoint.device) * endpoint.pace
    return WorkerOverview(
        id=endpoint.id,
        node=endpoint.node,
        device=endpoint.device,
        state=_worker_state(endpoint),
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
    registry, line, work = switchboard.registry, switchboard.line(model.name), switchboard.work(model.name)
    return LineOverview(
        waiting=switchboard.waiting(model.name),
        callers=line.callers if line is not None else 0,
        work_seconds=registry.rates.seconds(model.name, work) if registry.rates.known(model.name) else None,
        oldest_seconds=line.oldest(now) if line is not None else 0.0,
        estimated_wait_ms=round(registry.estimated_wait(model.name, work) * 1000),
    )
