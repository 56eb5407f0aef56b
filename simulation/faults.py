"""What breaks, when and for how long: drawn from the world's chance, over when the plan says so."""

from collections.abc import Callable
from dataclasses import replace

from simulation.cluster import Cluster, Node, Pod
from simulation.controller import Controller
from simulation.heap import Heap
from simulation.invariants import SLOWEST
from simulation.orchestrator import Orchestrator
from simulation.plan import Plan
from simulation.trace import Trace
from simulation.workers import Workers
from stoker_orchestrator.domain.model import EndpointState, Obstacle

_HANG_SECONDS = (1.0, 40.0)
_STILL_SECONDS = (5.0, 90.0)
_KUBELET_SECONDS = 3.0
"""A worker that answers no probe of its kubelet for so long is not ready."""
_NODE_SECONDS = (2.0, 60.0)
_GONE_SECONDS = (1.0, 20.0)
_OBSTACLE_SECONDS = (1.0, 20.0)
_AWAY_SECONDS = (2.0, 60.0)
_FOR_ALL = 0.6
_RESTART_SECONDS = (0.5, 5.0)

Harm = Callable[[], None]


class Nemesis:
    """Does harm, and undoes it."""

    def __init__(self, heap: Heap, cluster: Cluster, controller: Controller, workers: Workers, plan: Plan, trace: Trace) -> None:
        self._heap = heap
        self._cluster = cluster
        self._controller = controller
        self._workers = workers
        self._plan = plan
        self._trace = trace
        self.api_away = False
        """For all, those too that start meanwhile."""
        self.orchestrators: list[Orchestrator] = []
        self.restart: Callable[[Orchestrator], None] = lambda _: None

    def start(self) -> None:
        """Begin when the plan says so."""
        faults = self._plan.faults
        harms: dict[Harm, float] = {
            self._crash_worker: faults.worker_crash,
            self._hang_worker: faults.worker_hang,
            self._still_worker: faults.worker_still,
            self._slow_worker: faults.worker_slow,
            self._delete_pod: faults.pod_deleted,
            self._force_pod: faults.pod_forced,
            self._crash_node: faults.node_crash,
            self._cut_node: faults.node_cut,
            self._roll_out: faults.rollout,
            self._remove_model: faults.model_gone,
            self._obstruct: faults.obstacle,
            self._take_api: faults.api_away,
            self._crash_orchestrator: faults.orchestrator_crash,
        }
        for harm, mean in harms.items():
            if mean:
                self._heap.at(self._plan.faults_from + self._heap.chance.expovariate(1 / mean), self._strike, harm, mean)

    def _strike(self, harm: Harm, mean: float) -> None:
        if self._heap.now < self._plan.faults_until:
            harm()
            self._heap.after(self._heap.chance.expovariate(1 / mean), self._strike, harm, mean)

    def _lasting(self, seconds: tuple[float, float]) -> float:
        """How long a fault lasts: never beyond the end of all faults."""
        return min(self._heap.chance.uniform(*seconds), max(0.1, self._plan.faults_until - self._heap.now))

    def _pod(self) -> Pod | None:
        pods = [pod for pod in self._cluster.pods.values() if pod.node is not None]
        return self._heap.chance.choice(pods) if pods else None

    def _node(self) -> Node | None:
        nodes = [node for node in self._cluster.nodes.values() if node.reachable]
        return self._heap.chance.choice(nodes) if len(nodes) > 1 else None

    def _model(self) -> str | None:
        return self._heap.chance.choice(list(self._cluster.models)) if self._cluster.models else None

    def _crash_worker(self) -> None:
        pod = self._pod()
        if pod is not None and pod.listens:
            self._trace.note(f"fault: {pod.name} crashes")
            self._controller.restart(pod)

    def _hang_worker(self) -> None:
        self._freeze(self._lasting(_HANG_SECONDS), hung=True)

    def _still_worker(self) -> None:
        self._freeze(self._lasting(_STILL_SECONDS), hung=False)

    def _freeze(self, seconds: float, *, hung: bool) -> None:
        pod = self._pod()
        if pod is None or pod.frozen is not None:
            return
        self._trace.note(f"fault: {pod.name} {'hangs' if hung else 'stands still'} for {seconds:.1f} s")
        self._workers.freeze(pod, hung=hung)
        if hung:
            self._heap.after(_KUBELET_SECONDS, self._controller.unready, pod)
        self._heap.after(seconds, self._thaw, pod, pod.restarts)

    def _thaw(self, pod: Pod, restarts: int) -> None:
        if pod.restarts == restarts and self._cluster.pods.get(pod.name) is pod:
            self._workers.thaw(pod)
            if pod.loaded and pod.state is EndpointState.STARTING:
                self._controller.ready_again(pod)
            self._controller.idle_now(pod)

    def _slow_worker(self) -> None:
        pod = self._pod()
        if pod is not None:
            pod.slow = self._heap.chance.uniform(2.0, SLOWEST)
            self._trace.note(f"fault: {pod.name} is {pod.slow:.1f} times slower")
            self._heap.after(self._lasting(_NODE_SECONDS), self._speed_up, pod)

    def _speed_up(self, pod: Pod) -> None:
        pod.slow = 1.0

    def _delete_pod(self) -> None:
        pod = self._pod()
        if pod is not None:
            self._trace.note(f"fault: {pod.name} is deleted")
            self._controller.end(pod)

    def _force_pod(self) -> None:
        pod = self._pod()
        if pod is not None:
            self._trace.note(f"fault: {pod.name} is deleted by force")
            self._controller.gone(pod)

    def _crash_node(self) -> None:
        node = self._node()
        if node is None:
            return
        self._trace.note(f"fault: {node.name} crashes")
        node.up, node.episode = False, node.episode + 1
        for pod in list(node.pods.values()):
            self._workers.die(pod)
            pod.loaded = False
        self._controller.lost(node, node.episode)
        self._heap.after(self._lasting(_NODE_SECONDS), self._revive, node)

    def _cut_node(self) -> None:
        node = self._node()
        if node is None:
            return
        self._trace.note(f"fault: {node.name} is cut off")
        node.cut, node.episode = True, node.episode + 1
        self._workers.cut(node)
        self._controller.lost(node, node.episode)
        self._heap.after(self._lasting(_NODE_SECONDS), self._revive, node)

    def _revive(self, node: Node) -> None:
        """A node that had crashed starts its pods again; one that was cut off goes on."""
        crashed, node.up, node.cut, node.episode = not node.up, True, False, node.episode + 1
        self._trace.note(f"{node.name} is back")
        for pod in list(node.pods.values()):
            if crashed:
                self._controller.restart(pod)
            else:
                self._controller.idle_now(pod)
        self._controller.back(node)

    def _roll_out(self) -> None:
        name = self._model()
        if name is not None:
            self._trace.note(f"{name} has a new revision")
            self._cluster.revisions[name] += 1
            self._controller.look_at(name)

    def _remove_model(self) -> None:
        name = self._model()
        if name is not None:
            self._trace.note(f"{name} is removed")
            model = self._cluster.models[name]
            self._cluster.remove(name)
            self._controller.look_at(name)
            self._heap.after(self._lasting(_GONE_SECONDS), self._cluster.put, model)

    def _obstruct(self) -> None:
        name = self._model()
        if name is not None:
            self._trace.note(f"{name} has an obstacle")
            obstacle = Obstacle("CrashLoop", "the worker crashed 3 times")
            self._cluster.put(replace(self._cluster.models[name], obstacle=obstacle))
            self._heap.after(self._lasting(_OBSTACLE_SECONDS), self._clear, name)

    def _clear(self, name: str) -> None:
        if name in self._cluster.models:
            self._cluster.put(replace(self._cluster.models[name], obstacle=None))

    def _take_api(self) -> None:
        """For all orchestrators, or for one of them."""
        if not any(each.watch.away for each in self.orchestrators):
            running = [each for each in self.orchestrators if each.running]
            self.api_away = not running or self._heap.chance.random() < _FOR_ALL
            victims = running if self.api_away else [self._heap.chance.choice(running)]
            self._trace.note(f"fault: the API server is away for {', '.join(each.name for each in victims)}")
            for orchestrator in victims:
                orchestrator.watch.go_away()
            self._heap.after(self._lasting(_AWAY_SECONDS), self._bring_api)

    def _bring_api(self) -> None:
        self._trace.note("the API server is back")
        self.api_away = False
        for orchestrator in self.orchestrators:
            if orchestrator.watch.away:
                orchestrator.watch.come_back()

    def _crash_orchestrator(self) -> None:
        running = [each for each in self.orchestrators if each.running]
        if running:
            victim = self._heap.chance.choice(running)
            self._trace.note(f"fault: {victim.name} crashes")
            victim.crash()
            self._heap.after(self._lasting(_RESTART_SECONDS), self.restart, victim)
