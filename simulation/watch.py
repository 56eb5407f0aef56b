"""What an orchestrator is told of the cluster: late, lost, twice or in another order, and whole again with each listing."""

from collections.abc import Callable

from simulation.cluster import Cluster, Pod
from simulation.heap import Heap
from simulation.plan import Wire
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen, Sight, Synced
from stoker_orchestrator.domain.model import Model

Sink = Callable[[FleetEvent], None]
_CALL_SECONDS = 12.0
_BLIND_SECONDS = 5.0
"""After so long without an answer of the API server the fleet says that it sees nothing."""


class Watch:
    """One orchestrator's watches of models and pods. It translates as the Kubernetes fleet does: a restarted pod is a new endpoint.

    News are in the order in which they happened, but for those that the wire is told to reorder. A listing supersedes what is under
    way.
    """

    def __init__(self, heap: Heap, cluster: Cluster, wire: Wire, sink: Sink) -> None:
        self._heap = heap
        self._cluster = cluster
        self._sink = sink
        self.wire = wire
        self.away = False
        self.known: dict[str, str] = {}
        """The endpoint that was told last of each pod."""
        self.under_way: dict[str, int] = {}
        """How many news of which object have happened and not been told yet."""
        self.listing = False
        """Whether a listing is on its way, in the place of news that it supersedes."""
        self.blind_until = 0.0
        """When a call to the API server that failed may have been made again, after it was away."""
        self._models: dict[str, Model] = {}
        self._episode = 0
        self._arrives = 0.0
        self._blind = False
        self._open = True
        self._synced = False

    def start(self) -> None:
        """Follow the cluster: everything that is there, then changes, with a listing now and then."""
        self._cluster.followers.append(self._changed)
        self._list(self._episode)

    def stop(self) -> None:
        """Nobody listens any more."""
        self._open = False
        self._cluster.followers.remove(self._changed)

    def hear(self, pod: Pod) -> None:
        """A pod tells how it is, unless that is lost on the way."""
        if not self.away and self._synced and self._heap.chance.random() >= self.wire.lost:
            self.tell_pod(pod.name, pod.seen)

    def go_away(self) -> None:
        """The API server is away."""
        self.away, self.listing, self.blind_until = True, False, float("inf")
        self._episode += 1
        self._heap.after(_BLIND_SECONDS, self._say_blind, self._episode)

    def come_back(self) -> None:
        """The API server is back: everything is listed."""
        self.away, self.blind_until = False, self._heap.now + _CALL_SECONDS
        self._episode += 1
        self._list(self._episode)

    def _say_blind(self, episode: int) -> None:
        if self._open and self.away and episode == self._episode and not self._blind:
            self._blind = True
            self._sink(Sight(clear=False))

    def _changed(self, kind: str, name: str) -> None:
        chance, wire = self._heap.chance, self.wire
        if self.away or not self._synced or chance.random() < wire.lost:
            return
        news = self._look(kind, name)
        self.under_way[name] = self.under_way.get(name, 0) + 1
        if chance.random() < wire.reordered:
            self._heap.after(chance.uniform(*wire.delay), self._arrive, kind, name, news, None)
        else:
            self._arrives = max(self._arrives, self._heap.now + chance.uniform(*wire.delay))
            self._heap.at(self._arrives, self._arrive, kind, name, news, self._episode)
        if chance.random() < wire.twice:
            self._heap.after(2 * chance.uniform(*wire.delay), self._tell, kind, name, news)

    def _look(self, kind: str, name: str) -> EndpointSeen | Model | None:
        if kind == "model":
            return self._cluster.models.get(name)
        pod = self._cluster.pods.get(name)
        return pod.seen if pod is not None else None

    def _list(self, episode: int) -> None:
        """Ask for everything; it arrives as it was when it was asked for."""
        if not self._open or episode != self._episode:
            return
        if not self.away:
            self._episode += 1
            pods = {pod.name: pod.seen for pod in self._cluster.all_pods()}
            arrives = self._heap.chance.uniform(*self.wire.delay)
            self._arrives = self._heap.now + arrives
            self._synced = self.listing = True
            self._heap.after(arrives, self._take_listing, self._episode, dict(self._cluster.models), pods)
        self._heap.after(self.wire.resync_seconds, self._list, self._episode)

    def _take_listing(self, episode: int, models: dict[str, Model], pods: dict[str, EndpointSeen | None]) -> None:
        if not self._open or episode != self._episode:
            return
        self.listing = False
        for name in [name for name in self._models if name not in models]:
            self._tell("model", name, None)
        for name, model in models.items():
            self._tell("model", name, model)
        for name in [name for name in self.known if name not in pods]:
            self._tell("pod", name, None)
        for name, seen in pods.items():
            self._tell("pod", name, seen)
        self._sink(Synced())
        if self._blind:
            self._blind = False
            self._sink(Sight(clear=True))

    def _arrive(self, kind: str, name: str, news: EndpointSeen | Model | None, episode: int | None) -> None:
        """News arrive; those in order count only until the next listing."""
        self.under_way[name] -= 1
        if not self.under_way[name]:
            del self.under_way[name]
        if episode is None or episode == self._episode:
            self._tell(kind, name, news)

    def _tell(self, kind: str, name: str, news: EndpointSeen | Model | None) -> None:
        if not self._open:
            return
        if kind == "model":
            self._tell_model(name, news if isinstance(news, Model) else None)
        else:
            self.tell_pod(name, news if isinstance(news, EndpointSeen) else None)

    def _tell_model(self, name: str, model: Model | None) -> None:
        if model is not None:
            self._models[name] = model
            self._sink(ModelSeen(model))
        elif self._models.pop(name, None) is not None:
            self._sink(ModelGone(name))

    def tell_pod(self, name: str, seen: EndpointSeen | None) -> None:
        """Tell how a pod is now; one whose process is another than before is told as gone first."""
        before = self.known.get(name)
        if before is not None and (seen is None or seen.id != before):
            del self.known[name]
            self._sink(EndpointGone(before))
        if seen is not None:
            self.known[name] = seen.id
            self._sink(seen)
