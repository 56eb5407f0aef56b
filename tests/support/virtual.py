"""A cluster in virtual time: one node with devices, a Deployment for each model, and the machines that decide over it."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from stoker_orchestrator.domain.autoscaler import effective
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, ModelSeen, Synced
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import EndpointState, Model, Obstacle
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.retirement import Rank
from stoker_orchestrator.domain.scaling import Changed, Decided, Effect, Scale, Scaling
from stoker_orchestrator.domain.switchboard import Effect as BoardEffect
from stoker_orchestrator.domain.switchboard import Granted, Outcome, Refused, Switchboard, Wake
from tests.support.fleet import model

GPU = "nvidia.com/gpu"
LACKING = f"0/1 nodes are available: 1 Insufficient {GPU}."
LOOK_SECONDS = 0.5


@dataclass
class Pod:
    """A worker; `ready_at` is None while it has no device."""

    id: str
    model: str
    made: float
    ready_at: float | None = None
    gone_at: float | None = None
    cost: int = 0

    def state(self, now: float) -> EndpointState:
        if self.gone_at is not None:
            return EndpointState.DRAINING
        return EndpointState.READY if self.ready_at is not None and self.ready_at <= now else EndpointState.STARTING


class VirtualCluster:
    """Steps of half a second. `refuse` may make a call to the fleet fail; what was done is kept in lists."""

    def __init__(self, *models: Model, devices: int = 100, load: float = 5.0, residency: float = 60.0) -> None:
        self.now = 0.0
        self.devices = devices
        self.load = load
        self.board = Switchboard(Registry())
        self.scaling = Scaling(self.board, self.now, residency)
        self.models = {each.name: each for each in models}
        self.pods: dict[str, Pod] = {}
        self.leading = True
        self.refuse: Callable[[Scale | Rank], bool] = lambda _: False
        self.effects: list[tuple[float, Effect]] = []
        self.served: list[int] = []
        self.refused: dict[int, Refused] = {}
        self.loads: list[tuple[float, str]] = []
        self.killed_busy: list[str] = []
        self._numbers = itertools.count(1)
        self._running: dict[int, tuple[Granted, float, float]] = {}
        self._seconds: dict[int, float] = {}
        for each in models:
            self.board.apply(ModelSeen(each), self.now)
        self.board.apply(Synced(), self.now)

    @property
    def decided(self) -> list[Decided]:
        return [each for _, each in self.effects if isinstance(each, Decided)]

    @property
    def scaled(self) -> list[tuple[str, int, int]]:
        return [(each.model, each.expected, each.replicas) for _, each in self.effects if isinstance(each, Scale)]

    def replicas(self, name: str = "m") -> int:
        return effective(self.models[name])

    def ready(self, name: str = "m") -> list[str]:
        return [pod.id for pod in self.pods.values() if pod.model == name and pod.state(self.now) is EndpointState.READY]

    def change(self, name: str, **fields: Any) -> None:
        """The resource is now different."""
        self.models[name] = replace(self.models[name], **fields)
        self._take(self.board.apply(ModelSeen(self.models[name]), self.now))

    def send(self, name: str = "m", seconds: float = 1.0, cost: float | None = None) -> int:
        """A job that takes so long on a worker; it declares one unit for each second."""
        ticket = next(self._numbers)
        self._seconds[ticket] = seconds
        self._take(self.board.arrive(ticket, self.models[name], Ask(seconds if cost is None else cost), self.now))
        return ticket

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK_SECONDS
            self._finish_jobs()
            self._control()
            self._take(self.board.expire(self.now))
            self.look()

    def until(self, condition: Callable[[], object], seconds: float = 600) -> None:
        """Let time pass until it is so."""
        end = self.now + seconds
        while not condition():
            assert self.now < end, f"not so within {seconds} s"
            self.run(LOOK_SECONDS)

    def look(self) -> None:
        """Let the machine look and do what it says."""
        self._carry_out(self.scaling.look(self.now, leading=self.leading))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append((self.now, effect))
            if isinstance(effect, Changed):
                self._take(self.board.look(effect.model, self.now))
            if not isinstance(effect, Scale | Rank):
                continue
            if self.refuse(effect):
                self._carry_out(self.scaling.failed(effect))
                continue
            if isinstance(effect, Rank):
                self.pods[effect.endpoint].cost = effect.cost
            elif self.models[effect.model].replicas == effect.expected:
                self.change(effect.model, replicas=effect.replicas)
            self._carry_out(self.scaling.done(effect))

    def _take(self, effects: list[BoardEffect]) -> None:
        for effect in effects:
            match effect:
                case Granted(ticket):
                    self._running[ticket] = effect, self.now, self.now + self._seconds[ticket]
                case Refused(ticket):
                    self.refused[ticket] = effect
                case Wake(name):
                    self.scaling.woken(name, self.now)

    def _finish_jobs(self) -> None:
        for ticket, (grant, began, ends) in list(self._running.items()):
            if ends <= self.now:
                del self._running[ticket]
                self.served.append(ticket)
                self._take(self.board.release(grant, self.now, Outcome.SERVED, self.now - began))

    def _control(self) -> None:
        """What the Deployments, the scheduler and the kubelet do; then everybody is told."""
        for pod in [pod for pod in self.pods.values() if pod.gone_at is not None and pod.gone_at <= self.now]:
            if not any(grant.endpoint.id == pod.id for grant, _, _ in self._running.values()):
                del self.pods[pod.id]
                self._take(self.board.apply(EndpointGone(pod.id), self.now))
        for each in self.models.values():
            self._replace(each)
        for pod in sorted(self.pods.values(), key=lambda pod: pod.made):
            if pod.ready_at is None and pod.gone_at is None and self.used < self.devices:
                pod.ready_at = self.now + self.load
                self.loads.append((self.now, pod.model))
        for name, each in list(self.models.items()):
            stuck = any(pod.model == name and self._room(pod) for pod in self.pods.values()) and not self.ready(name)
            obstacle = Obstacle("Unschedulable", f"no node has 1 free {GPU}", of_room=True) if stuck else None
            if each.obstacle != obstacle:
                self.change(name, obstacle=obstacle)
        for pod in list(self.pods.values()):
            state = pod.state(self.now)
            seen = EndpointSeen(
                pod.id, pod.model, pod.id, self.models[pod.model].capacity, state, "node", {GPU: 1}, self._room(pod)
            )
            self._take(self.board.apply(seen, self.now))

    @property
    def used(self) -> int:
        return sum(pod.ready_at is not None for pod in self.pods.values())

    def _room(self, pod: Pod) -> str:
        return LACKING if pod.ready_at is None and pod.gone_at is None and self.used >= self.devices else ""

    def _replace(self, each: Model) -> None:
        """As a ReplicaSet: those that are not ready are ended first, then the cheapest, then the newest."""
        there = [pod for pod in self.pods.values() if pod.model == each.name and pod.gone_at is None]
        for _ in range(effective(each) - len(there)):
            pod = Pod(f"{each.name}-{next(self._numbers)}", each.name, self.now)
            self.pods[pod.id] = pod
        order = sorted(there, key=lambda pod: (pod.state(self.now) is EndpointState.READY, pod.cost, -pod.made))
        for pod in order[: max(0, len(there) - effective(each))]:
            pod.gone_at = self.now + 1.0
            if any(grant.endpoint.id == pod.id for grant, _, _ in self._running.values()):
                self.killed_busy.append(pod.id)


def cluster(*models: Model, **others: Any) -> VirtualCluster:
    """A cluster with these models, or with one that is named `m`."""
    return VirtualCluster(*(models or (model(),)), **others)
