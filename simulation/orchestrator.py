"""An orchestrator: the domain's own objects, fed by a watch and by callers, their effects carried out in the world."""

from dataclasses import dataclass
from typing import Any

from simulation.cluster import Cluster
from simulation.desk import Desk, LocalDesk
from simulation.heap import Act, Heap
from simulation.invariants import Checker
from simulation.jobs import Job
from simulation.peer import Peer
from simulation.plan import Plan
from simulation.scaler import Scaler
from simulation.task import Task
from simulation.trace import Trace
from simulation.watch import Watch
from simulation.wire import Office
from simulation.workers import Workers
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen
from stoker_orchestrator.domain.model import Endpoint
from stoker_orchestrator.domain.outliers import Probe, Pulse
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.retries import Quarantine, RetryBudget
from stoker_orchestrator.domain.switchboard import Switchboard, Wake

TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an orchestrator is in."""

    heap: Heap
    cluster: Cluster
    workers: Workers
    plan: Plan
    trace: Trace
    checker: Checker
    office: Office


class Orchestrator:
    """One process. Its clock has a zero of its own, and may go too fast or too slow."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.heap, self.workers, self.plan = around.heap, around.workers, around.plan
        self.board = Switchboard(Registry(), around.plan.limits)
        self.budget = RetryBudget()
        self.quarantine = Quarantine()
        self.tasks: dict[int, Task] = {}
        """Jobs under way, by their number."""
        self.watch = Watch(around.heap, around.cluster, around.plan.wire, self.tell)
        self.running = True
        self._trace, self.checker = around.trace, around.checker
        self._probed: set[str] = set()
        self._zero = self.heap.chance.uniform(-1e6, 1e6)
        self._rate = 1.0 + around.plan.skew
        self._scaler = Scaler(self, around.cluster)
        self.local = LocalDesk(self)
        self.desk: Desk = self.local
        self.peer = Peer(self, around.office) if around.plan.orchestrators > 1 else None

    def start(self) -> None:
        """Follow the cluster and let time pass."""
        self.checker.joined(self)
        self.watch.start()
        self._scaler.start()
        self._tick()

    @property
    def now(self) -> float:
        """Its own clock."""
        return self._zero + self.heap.now * self._rate

    def later(self, seconds: float, act: Act, *given: Any) -> None:
        """Call `act` in so many seconds of its own clock."""
        self.heap.after(seconds / self._rate, act, *given)

    def submit(self, job: Job) -> None:
        """A caller sends a job."""
        model = self.board.registry.model(job.model)
        if not self.running or not self.board.registry.synced or model is None:
            job.ended = "refused not_offered"
            return
        task = self.tasks[job.number] = Task(self, job, model)
        self.checker.arrived(task)
        if job.patience is not None:
            self.heap.after(job.patience, task.hang_up)
        task.begin()

    def switch(self, desk: Desk) -> None:
        """From now on this desk counts the slots that are in use, and gives out the next ones."""
        before, self.desk = self.desk, desk
        if before is not desk:
            desk.adopt(before.hand_over())
            before.send_away()

    def ended(self, task: Task, how: str) -> None:
        """A job has its answer."""
        self.note(f"job {task.job.number} {how}")
        del self.tasks[task.job.number]
        task.job.ended = how
        self.checker.ended(task)

    def tell(self, event: FleetEvent) -> None:
        """The fleet changed."""
        self.note(f"told {_words(event)}")
        model = self._about(event)
        self.local.do(self.board.apply(event, self.now))
        self.checker.changed(self, model)

    def _about(self, event: FleetEvent) -> str:
        """The model that news are about; empty where they are about none."""
        match event:
            case EndpointGone(identity):
                known = self.board.registry.endpoint(identity)
                return known.model if known is not None else ""
            case EndpointSeen():
                return event.model
            case ModelSeen(model):
                return model.name
            case ModelGone(name):
                return name
        return ""

    def act(self, effect: Wake | Probe) -> None:
        """What concerns workers and models rather than one caller."""
        if isinstance(effect, Probe):
            self._probe(effect.endpoint)
        else:
            self.checker.woke(self, effect.model)
            self._scaler.wake(effect.model)

    def followers_give_up(self, endpoint: Endpoint) -> None:
        """An endpoint was ejected: who follows gives up what runs there."""
        if self.peer is not None:
            self.peer.followers.give_up(endpoint)

    def _probe(self, endpoint: Endpoint) -> None:
        """Ask once at a time, however often it is said to be due."""
        if endpoint.id in self._probed:
            return
        self._probed.add(endpoint.id)

        def answered(pulse: Pulse) -> None:
            self._probed.discard(endpoint.id)
            if self.running:
                effects = self.board.probed(endpoint.id, pulse, self.now)
                if effects or pulse.ready:
                    self.checker.changed(self, endpoint.model)
                self.local.do(effects)

        self.workers.probe(endpoint.id, answered)

    def look(self, name: str) -> None:
        """What activity decided changed who can serve a model."""
        self.local.do(self.board.look(name, self.now))
        self.checker.changed(self, name)

    @property
    def leading(self) -> bool:
        """Whether this orchestrator decides how many workers run."""
        return self.peer is None or self.peer.may_write

    @property
    def deaf(self) -> bool:
        """Whether the API server did not answer it lately."""
        return max(self.watch.blind_until, self.peer.deaf_until if self.peer is not None else 0.0) > self.heap.now

    def note(self, words: str) -> None:
        """Something for the trace."""
        self._trace.note(f"{self.name} {words}")

    def _tick(self) -> None:
        if self.running:
            self.local.do(self.board.expire(self.now))
            if self.peer is not None:
                self.peer.tick()
            self.checker.ticked(self)
            self.later(TICK_SECONDS, self._tick)

    def crash(self) -> None:
        """The process is no more: its callers see closed connections, and so do the workers."""
        self.running = False
        self.watch.stop()
        if self.peer is not None:
            self.peer.crash()
        for task in list(self.tasks.values()):
            task.open = False
            if task.attempt is not None:
                task.attempt.open = False
                self.workers.abort(task.attempt.grant.endpoint.id, task.job.number)
            self.ended(task, "broken")
        self.checker.crashed(self)


def _words(event: FleetEvent) -> str:
    """An event for the trace; short, because there are millions of these."""
    if isinstance(event, EndpointSeen):
        return f"{event.id} {event.state} {event.capacity} {event.node}"
    return str(event)
