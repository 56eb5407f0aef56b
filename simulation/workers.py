"""What workers and the network do: jobs run and end, connections break, probes are answered or not."""

from collections.abc import Callable

from simulation.cluster import Call, Cluster, Node, Pod, Work
from simulation.heap import Heap
from stoker_orchestrator.domain.model import EndpointState
from stoker_orchestrator.domain.outliers import Pulse

_LATENCY_SECONDS = (0.001, 0.02)
_CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 30.0
"""TCP notices after so long that the other end is gone without a word."""
_RESEND_SECONDS = 1.0
_PROBE_SECONDS = 2.0
STEP_SECONDS = 0.2
_CANCEL_SECONDS = (0.05, STEP_SECONDS)
"""A worker whose caller hung up ends the job at its next step."""


def _nobody(pod: Pod) -> None:
    """Nobody wants to know."""


class Workers:
    """All workers, and the wires to them."""

    def __init__(self, heap: Heap, cluster: Cluster) -> None:
        self._heap = heap
        self._cluster = cluster
        self.idle: Callable[[Pod], None] = _nobody
        self.poisoned: Callable[[Pod], None] = _nobody
        self.lethal = True
        """Whether jobs that can end a worker do."""
        self._tokens = 0

    def send(self, identity: str, work: Work) -> None:
        """A job on its way to a worker; its call hears how it went."""
        self._heap.after(self._latency(), self._receive, identity, work)

    def _receive(self, identity: str, work: Work) -> None:
        if not work.call.open:
            return
        pod = self._listening(identity)
        if pod is None or pod.node is None:
            self._tell(work.call, sent=False)
        elif not pod.node.reachable:
            self._heap.after(_CONNECT_SECONDS, self._tell_if_open, work.call, False)  # noqa: FBT003 - as the call has it
        elif pod.hung:
            pod.backlog.append(work)
        else:
            self._accept(pod, work)

    def _accept(self, pod: Pod, work: Work) -> None:
        if pod.state is EndpointState.DRAINING or not pod.loaded:
            self._heap.after(self._latency(), self._drains, work.call)
        elif len(pod.running) >= pod.capacity:
            self._heap.after(self._latency(), self._is_full, work.call)
        else:
            pod.running[work.job] = work
            work.began, work.seconds = self._heap.now, work.seconds * pod.slow
            if pod.frozen is None:
                self._plan_end(pod, work)

    def _plan_end(self, pod: Pod, work: Work) -> None:
        self._tokens += 1
        work.token = self._tokens
        left = work.began + work.seconds * (0.5 if work.poison and self.lethal else 1.0) - self._heap.now
        self._heap.after(max(0.0, left), self._end, pod, work, work.token)

    def _end(self, pod: Pod, work: Work, token: int) -> None:
        if work.token != token or pod.running.get(work.job) is not work:
            return
        if work.poison and self.lethal:
            self.poisoned(pod)
            return
        self._remove(pod, work)
        if pod.node is not None:
            self._heap.after(self._latency(), self._answer, pod.node, work.call)

    def _remove(self, pod: Pod, work: Work) -> None:
        del pod.running[work.job]
        pod.steps += (self._heap.now - work.began) / STEP_SECONDS
        self.idle(pod)

    def abort(self, identity: str, job: int) -> None:
        """The orchestrator closed the connection of a job."""
        self._heap.after(self._heap.chance.uniform(*_CANCEL_SECONDS), self._cancel, identity, job)

    def _cancel(self, identity: str, job: int) -> None:
        pod = self._listening(identity)
        if pod is None:
            return
        if pod.node is not None and not pod.node.reachable:
            self._heap.after(KEEPALIVE_SECONDS, self._cancel, identity, job)
            return
        if pod.frozen is not None and pod.hung:
            self._heap.after(1.0, self._cancel, identity, job)
            return
        pod.backlog = [work for work in pod.backlog if work.job != job]
        if job in pod.running and not pod.running[job].call.open:
            self._remove(pod, pod.running[job])

    def probe(self, identity: str, answer: Callable[[Pulse], None]) -> None:
        """Ask a worker whether it lives, whether it is ready and how many steps it has made."""
        pod = self._listening(identity)
        silent = pod is not None and not pod.listens
        self._heap.after(_PROBE_SECONDS if silent else self._latency(), self._pulse, pod, answer)

    def _pulse(self, pod: Pod | None, answer: Callable[[Pulse], None]) -> None:
        if pod is None or not pod.listens or self._cluster.pods.get(pod.name) is not pod:
            answer(Pulse(alive=False))
        else:
            ready = pod.loaded and pod.state is not EndpointState.DRAINING
            answer(Pulse(alive=True, ready=ready, steps=self._steps(pod)))

    def _steps(self, pod: Pod) -> int:
        until = pod.frozen if pod.frozen is not None else self._heap.now
        return int(pod.steps + sum(max(0.0, until - work.began) / STEP_SECONDS for work in pod.running.values()))

    def freeze(self, pod: Pod, *, hung: bool) -> None:
        """Nothing goes on in a worker; `hung`: it answers no probe either."""
        if pod.frozen is None:
            pod.frozen, pod.hung = self._heap.now, hung
            for work in pod.running.values():
                work.token = 0

    def thaw(self, pod: Pod) -> None:
        """The worker goes on where it stood."""
        if pod.frozen is None:
            return
        stood, pod.frozen, pod.hung = pod.frozen, None, False
        for work in pod.running.values():
            work.began += self._heap.now - max(stood, work.began)
            self._plan_end(pod, work)
        backlog, pod.backlog = pod.backlog, []
        for work in backlog:
            if work.call.open:
                self._accept(pod, work)

    def die(self, pod: Pod) -> None:
        """The process ended: its callers are told, if there is a way to them."""
        left, pod.running, pod.backlog = [*pod.running.values(), *pod.backlog], {}, []
        pod.frozen, pod.hung, pod.steps, pod.slow = None, False, 0.0, 1.0
        for work in left:
            work.token = 0
            if pod.node is not None and pod.node.reachable:
                self._tell(work.call, sent=True)
            else:
                self._heap.after(KEEPALIVE_SECONDS, self._tell_if_open, work.call, True)  # noqa: FBT003 - as the call has it

    def cut(self, node: Node) -> None:
        """Nothing comes from the node any more: whoever waits for it learns that from TCP, after long."""
        for pod in list(node.pods.values()):
            for work in [*pod.running.values(), *pod.backlog]:
                self._heap.after(KEEPALIVE_SECONDS, self._line_dead, work, node, node.episode)

    def _line_dead(self, work: Work, node: Node, episode: int) -> None:
        if node.episode == episode and not node.reachable and work.call.open:
            work.call.lost(sent=True)

    def _listening(self, identity: str) -> Pod | None:
        """The pod whose process this is, if it still runs."""
        pod = self._cluster.pods.get(identity.rpartition(".")[0])
        return pod if pod is not None and pod.identity == identity else None

    def _tell(self, call: Call, *, sent: bool) -> None:
        self._heap.after(self._latency(), self._tell_if_open, call, sent)

    def _tell_if_open(self, call: Call, sent: bool) -> None:  # noqa: FBT001 - the heap gives positions
        if call.open:
            call.lost(sent=sent)

    def _answer(self, node: Node, call: Call) -> None:
        """TCP sends again until it gets through; of a node that has crashed the caller learns from its own TCP, after long."""
        if call.open and node.reachable:
            call.answered()
        elif call.open and node.up:
            self._heap.after(_RESEND_SECONDS, self._answer, node, call)
        elif call.open:
            self._heap.after(KEEPALIVE_SECONDS, self._tell_if_open, call, True)  # noqa: FBT003 - as the call has it

    def _drains(self, call: Call) -> None:
        if call.open:
            call.draining()

    def _is_full(self, call: Call) -> None:
        if call.open:
            call.full()

    def _latency(self) -> float:
        return self._heap.chance.uniform(*_LATENCY_SECONDS)
