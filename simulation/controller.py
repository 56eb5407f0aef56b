"""What Kubernetes does: as many pods as are asked for, a node for each, a new one for each that is lost."""

from simulation.cluster import Cluster, Node, Pod
from simulation.heap import Heap
from simulation.plan import Plan
from simulation.workers import Workers
from stoker_orchestrator.domain.autoscaler import effective
from stoker_orchestrator.domain.model import EndpointState

_SETTLE_SECONDS = (0.02, 0.3)
_BACK_OFF_SECONDS = 1.0
_KUBELET_SECONDS = 1.0
_EVICTION_SECONDS = 20.0
"""A node that says nothing for so long loses its pods. Real clusters take minutes; then worlds would need to be longer."""
_NO_ROOM = "no node has a free GPU"


class Controller:
    """Deployments, the scheduler and the kubelets, level-triggered: looks at a model when something about it changed."""

    def __init__(self, heap: Heap, cluster: Cluster, workers: Workers, plan: Plan) -> None:
        self._heap = heap
        self._cluster = cluster
        self._workers = workers
        self._plan = plan
        self._due: set[str] = set()
        self._homeless: dict[str, Pod] = {}
        self._roomy: dict[str, Node] = {}
        workers.idle = self.idle_now

    def add(self, node: Node) -> None:
        """A node joins."""
        self._cluster.nodes[node.name] = node
        self._roomy[node.name] = node

    def look_at(self, name: str) -> None:
        """Look at a model soon."""
        if name not in self._due:
            self._due.add(name)
            self._heap.after(self._heap.chance.uniform(*_SETTLE_SECONDS), self._reconcile, name)

    def _reconcile(self, name: str) -> None:
        self._due.discard(name)
        model = self._cluster.models.get(name)
        wanted = effective(model) if model is not None else 0
        pods = [pod for pod in self._cluster.pods_of(name) if pod.state is not EndpointState.DRAINING]
        if model is not None:
            for _ in range(wanted - len(pods)):
                pod = self._cluster.create(model, self._heap.now)
                self._homeless[pod.name] = pod
        if len(pods) > wanted:
            for pod in sorted(pods, key=_first_to_go)[: len(pods) - wanted]:
                self.end(pod)
        self._roll(name, pods)
        self._schedule()

    def _roll(self, name: str, pods: list[Pod]) -> None:
        """One pod of an earlier revision makes room for a new one when all others serve: ``maxSurge: 0``."""
        old = [pod for pod in pods if pod.revision != self._cluster.revisions.get(name)]
        if old and all(pod.state is EndpointState.READY for pod in pods if pod not in old):
            self.end(min(old, key=_first_to_go))

    def _schedule(self) -> None:
        for pod in list(self._homeless.values()):
            node = self._room()
            if node is not None:
                del self._homeless[pod.name]
                self._cluster.bind(pod, node)
                self._note_room(node)
                self._heap.after(self._heap.chance.uniform(*self._plan.start_seconds), self._loaded, pod, pod.restarts)
            elif not pod.no_room:
                pod.no_room = _NO_ROOM
                self._cluster.changed(pod)

    def _room(self) -> Node | None:
        return next((node for node in self._roomy.values() if node.reachable), None)

    def _note_room(self, node: Node) -> None:
        if node.free > 0:
            self._roomy[node.name] = node
        else:
            self._roomy.pop(node.name, None)

    def _loaded(self, pod: Pod, restarts: int) -> None:
        """The worker has loaded its model; its kubelet notices at the next probe."""
        if pod.restarts == restarts:
            pod.loaded, pod.ready_at = True, self._heap.now
            self._heap.after(self._heap.chance.uniform(0.0, _KUBELET_SECONDS), self._ready, pod, restarts)

    def _ready(self, pod: Pod, restarts: int) -> None:
        """The kubelet asks the worker whether it is ready."""
        if not self._is_there(pod) or pod.restarts != restarts or pod.state is not EndpointState.STARTING:
            return
        if not pod.listens:
            self._heap.after(_BACK_OFF_SECONDS, self._ready, pod, restarts)
            return
        pod.state = EndpointState.READY
        self._cluster.changed(pod)
        self.look_at(pod.model)

    def end(self, pod: Pod) -> None:
        """Delete a pod in peace: no new jobs, those under way may end."""
        if not self._is_there(pod) or pod.state is EndpointState.DRAINING:
            return
        pod.state = EndpointState.DRAINING
        self._cluster.changed(pod)
        self._heap.after(self._plan.drain_seconds, self.gone, pod)
        self.idle_now(pod)
        self.look_at(pod.model)

    def idle_now(self, pod: Pod) -> None:
        """A pod that drains ends when nothing runs in it."""
        if pod.state is EndpointState.DRAINING and not pod.running:
            self._heap.after(self._heap.chance.uniform(*_SETTLE_SECONDS), self._gone_if_idle, pod)

    def _gone_if_idle(self, pod: Pod) -> None:
        if pod.state is EndpointState.DRAINING and not pod.running and pod.listens:
            self.gone(pod)

    def gone(self, pod: Pod) -> None:
        """The pod is no more, whatever it was doing."""
        if not self._is_there(pod):
            return
        self._workers.die(pod)
        self._cluster.delete(pod)
        self._homeless.pop(pod.name, None)
        if pod.node is not None:
            self._note_room(pod.node)
        self.look_at(pod.model)
        for waiting in list(self._homeless.values())[:1]:
            self.look_at(waiting.model)

    def restart(self, pod: Pod) -> None:
        """The worker's process ended; the kubelet starts it again."""
        if not self._is_there(pod):
            return
        self._workers.die(pod)
        if pod.state is EndpointState.DRAINING:
            self.gone(pod)
            return
        pod.restarts += 1
        pod.state, pod.loaded = EndpointState.STARTING, False
        self._cluster.changed(pod)
        again = _BACK_OFF_SECONDS + self._heap.chance.uniform(*self._plan.start_seconds)
        self._heap.after(again, self._loaded, pod, pod.restarts)

    def unready(self, pod: Pod) -> None:
        """The kubelet's probes fail: the worker hangs."""
        if self._is_there(pod) and pod.state is EndpointState.READY and pod.hung:
            pod.state = EndpointState.STARTING
            self._cluster.changed(pod)

    def ready_again(self, pod: Pod) -> None:
        """The kubelet's probes succeed again."""
        self._ready(pod, pod.restarts)

    def lost(self, node: Node, episode: int) -> None:
        """A node has said nothing for a while."""
        self._heap.after(_EVICTION_SECONDS, self._evict, node, episode)

    def _evict(self, node: Node, episode: int) -> None:
        if node.reachable or node.episode != episode:
            return
        for pod in list(node.pods.values()):
            self.gone(pod)

    def back(self, node: Node) -> None:
        """A node is there again."""
        self._note_room(node)
        for waiting in list(self._homeless.values())[:1]:
            self.look_at(waiting.model)

    def _is_there(self, pod: Pod) -> bool:
        return self._cluster.pods.get(pod.name) is pod


def _first_to_go(pod: Pod) -> tuple[bool, bool, int, float]:
    """As the ReplicaSet controller chooses: pods without a node, then those not ready, then the cheaper, then the younger."""
    return (pod.node is not None, pod.state is EndpointState.READY, pod.deletion_cost, -pod.born)
