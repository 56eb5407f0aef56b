"""The truth about a world: nodes, models, pods and what runs in them. Whoever follows it is told through a watch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from stoker_orchestrator.domain.events import EndpointSeen
from stoker_orchestrator.domain.model import EndpointState, Model

GPU = "nvidia.com/gpu"


class Call(Protocol):
    """Who waits for a worker's answer. `open` while it does."""

    open: bool

    def answered(self) -> None:
        """The worker did the job."""

    def lost(self, *, sent: bool) -> None:
        """The worker could not be reached, or went away; `sent` tells whether it may have had the job."""

    def draining(self) -> None:
        """The worker takes no more jobs."""

    def full(self) -> None:
        """The worker has as many jobs as it takes."""


@dataclass(slots=True, eq=False)
class Node:
    """A machine with some GPUs. `cut`: nothing comes from it or gets there."""

    name: str
    gpus: int
    up: bool = True
    cut: bool = False
    episode: int = 0
    pods: dict[str, "Pod"] = field(default_factory=dict)

    @property
    def reachable(self) -> bool:
        """Whether packets get there and back."""
        return self.up and not self.cut

    @property
    def free(self) -> int:
        """GPUs that no pod holds."""
        return self.gpus - len(self.pods)


@dataclass(slots=True, eq=False)
class Work:
    """A job that runs in a worker; `began` moves on while the worker stands still."""

    job: int
    call: Call
    began: float
    seconds: float
    poison: bool
    token: int = 0


@dataclass(slots=True, eq=False)
class Pod:
    """A worker. Its identity for others changes with each restart of its process."""

    name: str
    model: str
    revision: int
    capacity: int
    born: float
    node: Node | None = None
    state: EndpointState = EndpointState.STARTING
    loaded: bool = False
    ready_at: float = 0.0
    restarts: int = 0
    no_room: str = ""
    deletion_cost: int = 0
    frozen: float | None = None
    hung: bool = False
    slow: float = 1.0
    steps: float = 0.0
    running: dict[int, Work] = field(default_factory=dict)
    backlog: list[Work] = field(default_factory=list)
    seen: EndpointSeen | None = None

    @property
    def identity(self) -> str:
        """What an orchestrator calls it."""
        return f"{self.name}.{self.restarts}"

    @property
    def listens(self) -> bool:
        """Whether a process is there that could answer."""
        return self.node is not None and self.node.reachable and not self.hung


Follower = Callable[[str, str], None]
"""Is told the kind, ``model`` or ``pod``, and the name of what changed."""


class Cluster:
    """All objects, by name. Changes are told to each follower as they happen."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.models: dict[str, Model] = {}
        self.revisions: dict[str, int] = {}
        self.pods: dict[str, Pod] = {}
        self.followers: list[Follower] = []
        self._of_model: dict[str, dict[str, Pod]] = {}
        self._made = 0

    def pods_of(self, model: str) -> list[Pod]:
        """The pods of one model, the oldest first."""
        return list(self._of_model.get(model, {}).values())

    def all_pods(self) -> Iterator[Pod]:
        """All pods, the oldest first."""
        return iter(self.pods.values())

    def put(self, model: Model) -> None:
        """A model is there, or is different."""
        self.models[model.name] = model
        self.revisions.setdefault(model.name, 0)
        self._tell("model", model.name)

    def remove(self, name: str) -> None:
        """A model is taken away; its pods follow by whoever makes pods."""
        del self.models[name]
        self._tell("model", name)

    def scale(self, name: str, replicas: int) -> None:
        """So many workers are asked for."""
        self.put(replace(self.models[name], replicas=replicas))

    def create(self, model: Model, now: float) -> Pod:
        """A pod without a node."""
        self._made += 1
        pod = Pod(f"{model.name}-{self._made}", model.name, self.revisions[model.name], model.capacity, now)
        self.pods[pod.name] = pod
        self._of_model.setdefault(model.name, {})[pod.name] = pod
        self.changed(pod)
        return pod

    def bind(self, pod: Pod, node: Node) -> None:
        """The pod has a place."""
        pod.node, pod.no_room = node, ""
        node.pods[pod.name] = pod
        self.changed(pod)

    def delete(self, pod: Pod) -> None:
        """The pod is no more."""
        del self.pods[pod.name]
        del self._of_model[pod.model][pod.name]
        if pod.node is not None:
            del pod.node.pods[pod.name]
        self._tell("pod", pod.name)

    def changed(self, pod: Pod) -> None:
        """Something that others can see of a pod is different."""
        pod.seen = EndpointSeen(
            pod.identity, pod.model, f"{pod.name}:8000", pod.capacity, pod.state,
            node=pod.node.name if pod.node is not None else "", devices={GPU: 1}, no_room=pod.no_room,
        )  # fmt: skip
        self._tell("pod", pod.name)

    def _tell(self, kind: str, name: str) -> None:
        for follower in self.followers:
            follower(kind, name)
