"""An orchestrator: the domain's own objects, fed by a watch and by callers, their effects carried out in the world."""

import itertools
from dataclasses import dataclass
from typing import Any

from simulation.cluster import Cluster
from simulation.heap import Act, Heap
from simulation.invariants import Checker
from simulation.jobs import Job
from simulation.plan import Plan
from simulation.scaler import Scaler
from simulation.task import Attempt, Task
from simulation.trace import Trace
from simulation.watch import Watch
from simulation.workers import Workers
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen
from stoker_orchestrator.domain.model import Endpoint
from stoker_orchestrator.domain.outliers import Ejected, Probe, Pulse, Readmitted
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.retries import Quarantine, RetryBudget
from stoker_orchestrator.domain.switchboard import Effect, Granted, Outcome, Refused, Switchboard, Wake

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
        self._waiting: dict[int, Task] = {}
        self._tickets = itertools.count()
        self._probed: set[str] = set()
        self._zero = self.heap.chance.uniform(-1e6, 1e6)
        self._rate = 1.0 + around.plan.skew
        self._scaler = Scaler(self, around.cluster)

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

    def take(self, task: Task) -> None:
        """A task asks for a place."""
        ticket = task.ticket = next(self._tickets)
        self._waiting[ticket] = task
        self.checker.asked(task)
        self.do(self.board.arrive(ticket, task.model, task.ask, self.now))

    def leave(self, task: Task) -> None:
        """A task's caller is gone before it had a place."""
        if task.ticket is not None and self._waiting.pop(task.ticket, None) is not None:
            self.board.leave(task.model.name, task.ticket)
            self.checker.left(task)

    def give_back(self, attempt: Attempt, outcome: Outcome, seconds: float) -> None:
        """A place is free again."""
        self.checker.released(attempt)
        self.do(self.board.release(attempt.grant, self.now, outcome, seconds))

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
        self.do(self.board.apply(event, self.now))
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

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the switchboard said."""
        for effect in effects:
            match effect:
                case Granted(ticket, endpoint):
                    self._grant(self._waiting.pop(ticket), effect, endpoint)
                case Refused(ticket, refusal):
                    task = self._waiting.pop(ticket)
                    self.checker.left(task)
                    task.refused(refusal)
                case Wake(model):
                    self.checker.woke(self, model)
                    self._scaler.wake(model)
                case Probe(endpoint):
                    self._probe(endpoint)
                case Ejected(endpoint, reason):
                    self.note(f"ejects {endpoint.id}: {reason}")
                    self.checker.changed(self, endpoint.model)
                    self._give_up(endpoint)
                case Readmitted(endpoint):
                    self.note(f"readmits {endpoint.id}")
                    self.checker.changed(self, endpoint.model)

    def _grant(self, task: Task, grant: Granted, endpoint: Endpoint) -> None:
        self.note(f"grants {endpoint.id} to job {task.job.number}")
        self.checker.granted(task, grant)
        task.granted(grant)

    def _give_up(self, endpoint: Endpoint) -> None:
        attempts = [task.attempt for task in self.tasks.values() if task.attempt is not None]
        for attempt in attempts:
            if attempt.grant.endpoint is endpoint:
                attempt.give_up()

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
                self.do(effects)

        self.workers.probe(endpoint.id, answered)

    def look(self, name: str) -> None:
        """What activity decided changed who can serve a model."""
        self.do(self.board.look(name, self.now))
        self.checker.changed(self, name)

    @property
    def leading(self) -> bool:
        """Whether this orchestrator decides how many workers run."""
        return True

    def note(self, words: str) -> None:
        """Something for the trace."""
        self._trace.note(f"{self.name} {words}")

    def _tick(self) -> None:
        if self.running:
            self.do(self.board.expire(self.now))
            self.checker.ticked(self)
            self.later(TICK_SECONDS, self._tick)

    def crash(self) -> None:
        """The process is no more: its callers see closed connections, and so do the workers."""
        self.running = False
        self.watch.stop()
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
