"""What is advertised: the capability document, and the condition that each model shows."""

import re
from collections.abc import Callable, Iterable

from stoker_contracts.capabilities import Capabilities, Capability, ModelOffer
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_contracts.resources.conditions import Reason, Verdict
from stoker_orchestrator.domain.admission import stuck
from stoker_orchestrator.domain.model import Model
from stoker_orchestrator.domain.registry import Registry


class Advertiser:
    """Remembers what was advertised last, so that the generation grows exactly with each change."""

    def __init__(self, orchestrator: str) -> None:
        self._document = Capabilities(orchestrator=orchestrator, generation=0, capabilities=())

    def document(self, registry: Registry, work: Callable[[str], float]) -> Capabilities:
        """The document for the registry and the work in line as they are now; the same object as before where nothing changed."""
        now = tuple(_capability(registry, work, pipeline) for pipeline in Pipeline if registry.of_pipeline(pipeline))
        if now != self._document.capabilities:
            generation = self._document.generation + 1
            self._document = self._document.model_copy(update={"capabilities": now, "generation": generation})
        return self._document


def offered(registry: Registry, model: Model) -> bool:
    """Whether a job sent now would be served, at once or after a start."""
    return registry.is_warm(model.name) or (not stuck(registry, model) and model.startable)


def verdict(registry: Registry, model: Model) -> Verdict:
    """The condition `Advertised` of a model. Endpoints that are in trouble are told, whether others serve or not."""
    troubles = "; ".join(each.trouble for each in registry.endpoints_of(model.name) if each.trouble)
    if registry.is_warm(model.name):
        return Verdict("True", Reason.WARM, f"advertised as warm; {troubles}" if troubles else "advertised as warm")
    if offered(registry, model):
        return Verdict("True", Reason.COLD, "advertised as cold: a job starts a worker")
    obstacle = model.obstacle.message if model.obstacle else troubles or "it has no worker, and none may be started"
    return Verdict("False", Reason.NOT_READY, f"not advertised: {obstacle}")


def _capability(registry: Registry, work: Callable[[str], float], pipeline: Pipeline) -> Capability:
    models = [model for model in registry.of_pipeline(pipeline) if offered(registry, model)]
    best: dict[str, ModelOffer] = {}
    for model in models:
        offer = _offer(registry, model, work(model.name))
        best[model.model_id] = _joined(best[model.model_id], offer) if model.model_id in best else offer
    return Capability(pipeline=pipeline, capability=FACTS[pipeline].capability, models=tuple(best.values()))


def _offer(registry: Registry, model: Model, work: float) -> ModelOffer:
    ready = [each for each in registry.endpoints_of(model.name) if each.serving]
    runners = [each.runner for each in ready if each.runner is not None]
    return ModelOffer(
        model_id=model.model_id,
        warm=bool(ready),
        capacity=sum(each.capacity for each in ready),
        capacity_in_use=sum(each.in_flight for each in ready),
        estimated_wait_ms=round(registry.estimated_wait(model.name, work) * 1000),
        price=model.price,
        runner_version=_lowest(runner.version for runner in runners),
        hardware=tuple(card for runner in runners for card in runner.hardware),
    )


def _lowest(versions: Iterable[str]) -> str:
    """The one that all others are at least: a gateway that asks for a newer one may meet any of the workers."""
    return min(set(versions) - {""}, key=_numbers, default="")


def _numbers(version: str) -> tuple[int, ...]:
    """A version by its numbers, without what may stand behind them (semver.org, items 9 and 10)."""
    return tuple(map(int, re.findall(r"[0-9]+", re.split("[-+]", version)[0])))


def _joined(one: ModelOffer, other: ModelOffer) -> ModelOffer:
    """Two resources of the same model are one offer."""
    return one.model_copy(
        update={
            "warm": one.warm or other.warm,
            "capacity": one.capacity + other.capacity,
            "capacity_in_use": one.capacity_in_use + other.capacity_in_use,
            "estimated_wait_ms": min(one.estimated_wait_ms, other.estimated_wait_ms),
            "runner_version": _lowest((one.runner_version, other.runner_version)),
            "hardware": one.hardware + other.hardware,
        }
    )
