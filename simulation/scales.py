"""That no scaling does harm: within bounds, never below what is in flight, not back and forth, not blindly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulation.bounds import ViolationError
from simulation.cluster import Cluster, Pod
from simulation.heap import Heap
from simulation.plan import Plan
from stoker_contracts.resources.scaling import ScalingReason
from stoker_orchestrator.domain.model import EndpointState, Leaving
from stoker_orchestrator.domain.scaling import Scale

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator

_SKEWED = 0.9
"""What of a span of true time a clock that goes too fast may take for all of it."""


class Scales:
    """The last change of each model."""

    def __init__(self, heap: Heap, cluster: Cluster, plan: Plan) -> None:
        self._heap = heap
        self._cluster = cluster
        self._plan = plan
        self._raised: dict[str, float] = {}

    def check(self, orchestrator: Orchestrator, effect: Scale) -> None:
        """Raises ViolationError."""
        registry = orchestrator.board.registry
        model = registry.model(effect.model)
        if model is None or model.scaling is None or not model.scaling.least <= effect.replicas <= model.scaling.most:
            self._say(effect, "which is out of its bounds")
        if registry.blind_since is not None or not registry.synced:
            self._say(effect, "by one that sees nothing")
        if not orchestrator.leading:
            self._say(effect, "by one that does not lead")
        if effect.replicas > effect.expected:
            self._raised[effect.model] = self._heap.now
        elif effect.replicas < effect.expected:
            self._check_lower(orchestrator, effect)

    def _check_lower(self, orchestrator: Orchestrator, effect: Scale) -> None:
        endpoints = orchestrator.board.registry.endpoints_of(effect.model)
        busy = sum(each.in_flight > 0 and each.state is not EndpointState.DRAINING for each in endpoints)
        if effect.replicas < busy and effect.reason is not ScalingReason.BOUNDS:
            self._say(effect, f"below the {busy} workers that have jobs")
        since = self._heap.now - self._raised.get(effect.model, float("-inf"))
        if effect.reason is ScalingReason.IDLE and since < min(self._plan.idle_after, self._plan.residency) * _SKEWED:
            self._say(effect, f"{since:.1f} s after it was scaled up")
        going = [each.id for each in endpoints if each.leaving is Leaving.CONDEMNED and each.state is EndpointState.READY]
        for pod in self._told_as_ready(going):
            if self._age(pod.ready_at) < self._plan.residency * _SKEWED:
                self._say(effect, f"and {pod.name} goes {self._age(pod.ready_at):.1f} s after it became ready")

    def _told_as_ready(self, identities: list[str]) -> Iterator[Pod]:
        """The pods that are ready and in which no other process runs than the one that the orchestrator was told of."""
        for identity in identities:
            pod = self._cluster.pods.get(identity.rpartition(".")[0])
            if pod is not None and pod.identity == identity and pod.state is EndpointState.READY:
                yield pod

    def _age(self, moment: float) -> float:
        return self._heap.now - moment

    def _say(self, effect: Scale, what: str) -> None:
        words = f"{effect.model} is scaled from {effect.expected} to {effect.replicas} ({effect.reason}), {what}"
        raise ViolationError(words)
