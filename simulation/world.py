"""One world from its beginning to its end."""

from dataclasses import dataclass, replace

from simulation.bounds import ViolationError
from simulation.cluster import Cluster, Node, Pod
from simulation.controller import Controller
from simulation.faults import Nemesis
from simulation.heap import Heap
from simulation.invariants import Checker
from simulation.jobs import Callers, Job
from simulation.orchestrator import Orchestrator, Surroundings
from simulation.plan import Plan
from simulation.trace import Trace
from simulation.wire import Office
from simulation.workers import Workers
from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.domain.model import Bounds, Model

_SETTLE_SECONDS = 40.0
"""Two resyncs after the last fault, and the longest pause between two probes of an ejected worker."""

_MOMENT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Report:
    """How a world went. `violation` says which invariant broke, empty where none did, and `latest` what happened before."""

    seed: int
    violation: str
    hash: str
    steps: int
    seconds: float
    counts: dict[str, int]
    latest: list[str]


class World:
    """Everything that a seed makes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.heap = Heap(plan.seed)
        self.trace = Trace(lambda: self.heap.now)
        self.cluster = Cluster()
        self.workers = Workers(self.heap, self.cluster)
        self.controller = Controller(self.heap, self.cluster, self.workers, plan)
        self.checker = Checker(self.heap, self.cluster, plan)
        self.nemesis = Nemesis(self.heap, self.cluster, self.controller, self.workers, plan, self.trace)
        self.orchestrators = self.nemesis.orchestrators
        self._beating: set[str] = set()
        self._callers = Callers(self.heap, plan, self._submit)
        self._around = Surroundings(self.heap, self.cluster, self.workers, plan, self.trace, self.checker, Office(self.heap))

    def run(self) -> Report:
        """Let it live until its end, or until an invariant breaks. An error of the code under test is a violation as well."""
        violation = ""
        try:
            self._begin()
            self._live()
        except ViolationError as error:
            violation = str(error)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            violation = f"{type(error).__name__}: {error}"
        counts = dict(sorted(self.checker.counts.items()))
        return Report(self.plan.seed, violation, self.trace.hash, self.heap.steps, self.heap.now, counts, self.trace.latest)

    def _begin(self) -> None:
        plan = self.plan
        for number in range(plan.nodes):
            self.controller.add(Node(f"node-{number}", plan.gpus))
        self.workers.poisoned = self.controller.restart
        self.nemesis.restart = self._restart
        self.cluster.followers.append(self._changed)
        names = [f"model-{number}" for number in range(plan.models)]
        for name in names:
            self.cluster.put(_model(name, plan))
        for number in range(plan.orchestrators):
            self._join(f"orchestrator-{number}")
        self._callers.start(names)
        self.nemesis.start()

    def _live(self) -> None:
        plan, step = self.plan, self.checker.step
        self.heap.run(plan.faults_until, step)
        self.workers.lethal = False
        for orchestrator in self.orchestrators:
            orchestrator.watch.wire = replace(plan.wire, lost=0.0, twice=0.0, reordered=0.0)
        self.heap.run(plan.faults_until + _SETTLE_SECONDS, step)
        self._settled()
        self.heap.run(plan.until, step)
        self._settled()
        self.checker.over(self.orchestrators)

    def _settled(self) -> None:
        """A moment is looked for in which no listing is on its way."""
        while any(orchestrator.watch.listing for orchestrator in self.orchestrators):
            self.heap.run(self.heap.now + _MOMENT_SECONDS, self.checker.step)
        for orchestrator in self.orchestrators:
            self.checker.settled(orchestrator)

    def _join(self, name: str) -> Orchestrator:
        orchestrator = Orchestrator(name, self._around)
        self.orchestrators.append(orchestrator)
        orchestrator.start()
        return orchestrator

    def _restart(self, crashed: Orchestrator) -> None:
        self.orchestrators.remove(crashed)
        restarted = self._join(crashed.name)
        if self.nemesis.api_away:
            restarted.watch.go_away()

    def _changed(self, kind: str, name: str) -> None:
        if kind == "model":
            self.controller.look_at(name)
        elif self.plan.heartbeat_seconds and name in self.cluster.pods and name not in self._beating:
            self._beating.add(name)
            first = self.heap.chance.uniform(0.0, self.plan.heartbeat_seconds)
            self.heap.after(first, self._beat, self.cluster.pods[name])

    def _beat(self, pod: Pod) -> None:
        if self.cluster.pods.get(pod.name) is not pod:
            self._beating.remove(pod.name)
            return
        for orchestrator in self.orchestrators:
            orchestrator.watch.hear(pod)
        self.checker.counts["heartbeats"] += 1
        self.heap.after(self.plan.heartbeat_seconds, self._beat, pod)

    def _submit(self, job: Job) -> None:
        """The service picks any orchestrator that is ready."""
        ready = [each for each in self.orchestrators if each.running and each.board.registry.synced]
        if ready:
            self.heap.chance.choice(ready).submit(job)


def _model(name: str, plan: Plan) -> Model:
    return Model(
        name=name,
        pipeline=Pipeline.TEXT_TO_IMAGE,
        model_id=f"org/{name}",
        capacity=plan.capacity,
        replicas=min(plan.first_replicas, plan.most),
        scaling=Bounds(plan.least, plan.most, plan.idle_after),
        start_timeout=plan.start_timeout,
    )
