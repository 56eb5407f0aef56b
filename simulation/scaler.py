"""What activity decides, carried out at the cluster's API: calls take time, fail, and may be done though they failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.cluster import Cluster
from stoker_orchestrator.domain.retirement import Rank
from stoker_orchestrator.domain.scaling import Changed, Effect, Scale, Scaling

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator

LOOK_SECONDS = 0.5
_API_SECONDS = (0.005, 0.1)
_AWAY_SECONDS = (0.1, 10.0)


class Scaler:
    """One orchestrator's scaling machine. One call of a kind is under way at a time; the machine asks again for the others."""

    def __init__(self, orchestrator: Orchestrator, cluster: Cluster) -> None:
        self._orchestrator = orchestrator
        self._cluster = cluster
        self._heap = orchestrator.heap
        self._scaling = Scaling(orchestrator.board, orchestrator.now, orchestrator.plan.residency)
        self._calls: set[tuple[str, str]] = set()
        self._due = 0

    def start(self) -> None:
        """Look again and again."""
        self._look(self._due)

    def wake(self, model: str) -> None:
        """A job came for a model that has no worker; looked at at once."""
        self._scaling.woken(model, self._orchestrator.now)
        self._due += 1
        self._heap.after(0.0, self._look, self._due)

    def _look(self, due: int) -> None:
        """The last one that was asked for counts: one that came in between has looked already."""
        if due != self._due or not self._orchestrator.running:
            return
        self._carry_out(self._scaling.look(self._orchestrator.now, leading=self._orchestrator.leading))
        self._due += 1
        self._orchestrator.later(LOOK_SECONDS, self._look, self._due)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Scale(model):
                    self._orchestrator.checker.scaled(self._orchestrator, effect)
                    self._begin(("scale", model), effect)
                case Rank(_, endpoint):
                    self._begin(("rank", endpoint), effect)
                case Changed(model):
                    self._orchestrator.look(model)

    def _begin(self, key: tuple[str, str], effect: Scale | Rank) -> None:
        if key in self._calls:
            return
        self._calls.add(key)
        away = self._orchestrator.watch.away
        self._heap.after(self._heap.chance.uniform(*(_AWAY_SECONDS if away else _API_SECONDS)), self._call, key, effect)

    def _call(self, key: tuple[str, str], effect: Scale | Rank) -> None:
        self._calls.discard(key)
        if not self._orchestrator.running:
            return
        if self._orchestrator.watch.away:
            self._carry_out(self._scaling.failed(effect))
            return
        if isinstance(effect, Scale):
            self._scale(effect)
        else:
            self._rank(effect)
        if self._heap.chance.random() < self._orchestrator.watch.wire.lost:
            self._carry_out(self._scaling.failed(effect))
        else:
            self._carry_out(self._scaling.done(effect))

    def _scale(self, effect: Scale) -> None:
        model = self._cluster.models.get(effect.model)
        if model is not None and model.replicas == effect.expected:
            self._orchestrator.note(f"scales {effect.model} from {effect.expected} to {effect.replicas}: {effect.reason}")
            self._cluster.scale(effect.model, effect.replicas)

    def _rank(self, effect: Rank) -> None:
        pod = self._cluster.pods.get(effect.endpoint.rpartition(".")[0])
        if pod is not None:
            pod.deletion_cost = effect.cost
