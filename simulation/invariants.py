"""What must hold in every world, looked at as it happens."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NoReturn

from simulation.bounds import ViolationError, check_bounds
from simulation.cluster import Cluster
from simulation.heap import Heap
from simulation.patience import Patience
from simulation.plan import Plan
from simulation.scales import Scales
from simulation.workers import KEEPALIVE_SECONDS
from stoker_orchestrator.domain.outliers import FIRST_STILL_SECONDS
from stoker_orchestrator.domain.retries import WORKERS
from stoker_orchestrator.domain.scaling import Scale
from stoker_orchestrator.domain.switchboard import Granted

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator
    from simulation.task import Attempt, Task

_DETECTION_SECONDS = 60.0
"""After so long at the latest a worker that does nothing is given up, where its usual time for a job allows it."""


SLOWEST = 10.0
"""A slow worker takes so many times as long."""


def violate(words: str) -> NoReturn:
    """Say that an invariant broke. Raises ViolationError."""
    raise ViolationError(words)


_NEWS_SECONDS = 3.0
"""After so long a leader knows that a follower's job has ended, or that the follower has."""


class Checker:
    """Keeps its own books of grants and lines, apart from those of the domain."""

    def __init__(self, heap: Heap, cluster: Cluster, plan: Plan) -> None:
        self._heap = heap
        self._cluster = cluster
        self._plan = plan
        self._holds: dict[int, str] = {}
        self._load: dict[str, int] = defaultdict(int)
        self._lines: dict[tuple[str, str, str], dict[int, tuple[float, float]]] = {}
        self._just_ended = 0
        self._unordered: set[tuple[str, str, str]] = set()
        self._on_its_way: set[int] = set()
        self._running: list[Orchestrator] = []
        self._touched: list[tuple[Orchestrator, str]] = []
        self._open: dict[int, Task] = {}
        self._patience: dict[Orchestrator, Patience] = {}
        self._scales = Scales(heap, cluster, plan)
        self.counts: dict[str, int] = defaultdict(int)
        """How often what happened, for people and for the tests of the simulator itself."""

    # What the orchestrators report.

    def joined(self, orchestrator: Orchestrator) -> None:
        """A process begins."""
        self._running.append(orchestrator)
        self.counts["starts"] += 1
        self._patience[orchestrator] = Patience(orchestrator)

    def crashed(self, orchestrator: Orchestrator) -> None:
        """A process is no more; its grants went with its jobs."""
        self.counts["crashes"] += 1
        self._running.remove(orchestrator)
        del self._patience[orchestrator]
        self._lines = {key: line for key, line in self._lines.items() if key[0] != orchestrator.name}

    def arrived(self, task: Task) -> None:
        """A job is taken."""
        self._open[task.job.number] = task

    def asked(self, owner: Orchestrator, task: Task, ticket: int) -> None:
        """A job asks for a place at the owner's switchboard. Who has waited elsewhere has no place of its own in the order."""
        if not task.ask.again:
            line = self._lines.setdefault(self._line(owner, task), {})
            line[task.job.number] = self._heap.now, self._heap.now + max(self._longest_run(task.job.cost), self._seems(owner, task))
            if task.ask.waited:
                self._unordered.add(self._line(owner, task))
        self._patience[owner].asked(task, ticket)
        self._touch(owner, task.model.name)

    def left(self, owner: Orchestrator, task: Task, ticket: int) -> None:
        """A job waits there no longer."""
        key = self._line(owner, task)
        line = self._lines.get(key)
        if line is not None:
            line.pop(task.job.number, None)
            if not line:
                del self._lines[key]
                self._unordered.discard(key)
        if owner in self._patience:
            self._patience[owner].left(ticket)
        self._touch(owner, task.model.name)

    def granted(self, owner: Orchestrator, task: Task, grant: Granted) -> None:
        """A job has a place."""
        job, endpoint = task.job, grant.endpoint
        if job.number in self._holds:
            violate(f"job {job.number} has a grant on {self._holds[job.number]} already and gets one on {endpoint.id}")
        if endpoint.model != task.model.name or not endpoint.serving:
            violate(f"job {job.number} of {task.model.name} goes to {endpoint.id}, which is not able to serve it")
        if owner.board.registry.endpoint(endpoint.id) is not endpoint:
            violate(f"job {job.number} goes to {endpoint.id}, which is not there as far as told")
        if endpoint.id in task.lost and not endpoint.recovered:
            violate(f"job {job.number} meets {endpoint.id} again, which it was lost on")
        if len(task.lost) >= WORKERS:
            violate(f"job {job.number} is walked to a third worker")
        self._in_order(owner, task)
        self.counts["grants"] += 1
        if job.ended:
            return  # its process is no more, and the leader does not know that yet
        self._holds[job.number] = endpoint.id
        self._on_its_way.add(job.number)
        self._load[endpoint.id] += 1
        if self._load[endpoint.id] > endpoint.capacity and not self._unheard(owner, endpoint.id):
            violate(f"{endpoint.id} takes {endpoint.capacity} jobs and has {self._load[endpoint.id]} of ours")

    def _unheard(self, owner: Orchestrator, identity: str) -> bool:
        """Whether one that gets no answer from the API server has jobs there: a new leader waits for it no longer than 2 s.

        Then the worker itself refuses what is too much.
        """
        cut_off = [each for each in self._running if each is not owner and each.deaf]
        attempts = [task.attempt for each in cut_off for task in each.tasks.values() if task.attempt is not None]
        unheard = any(attempt.grant.endpoint.id == identity for attempt in attempts)
        self.counts["grants beside those of one that is cut off"] += unheard
        return unheard

    def delivered(self, task: Task) -> None:
        """A job knows of its place, and goes there."""
        self._on_its_way.remove(task.job.number)
        longest = self._longest_run(task.job.cost) + _DETECTION_SECONDS
        self._heap.after(longest, self._must_have_ended_try, task, task.attempt, True)  # noqa: FBT003 - as below

    def withdrawn(self, task: Task) -> None:
        """A job asks elsewhere: a place that is on its way to it is nobody's."""
        if task.job.number in self._on_its_way:
            self._drop(task.job.number)

    def released(self, owner: Orchestrator, attempt: Attempt) -> None:
        """A place is free again."""
        number, identity = attempt.task.job.number, attempt.grant.endpoint.id
        if self._holds.get(number) != identity:
            violate(f"job {number} gives back {identity}, which it does not hold")
        self._drop(number)
        self._touch(owner, attempt.task.model.name)

    def _drop(self, number: int) -> None:
        self._on_its_way.discard(number)
        identity = self._holds.pop(number)
        self._load[identity] -= 1
        if not self._load[identity]:
            del self._load[identity]

    def ended(self, task: Task) -> None:
        """A job has its answer."""
        number = task.job.number
        if number in self._on_its_way or (number in self._holds and task.job.ended == "broken"):
            self._drop(number)
        del self._open[number]
        self._just_ended += 1
        self._heap.after(_NEWS_SECONDS, self._forget_end)
        self.counts[task.job.ended] += 1

    def changed(self, orchestrator: Orchestrator, name: str) -> None:
        """An orchestrator was told about a model or a worker of it, or thinks otherwise of one."""
        self._touch(orchestrator, name)

    def woke(self, orchestrator: Orchestrator, name: str) -> None:
        """An orchestrator asks for a first worker."""
        if any(endpoint.coming for endpoint in orchestrator.board.registry.endpoints_of(name)):
            waiting = orchestrator.board.waiting(name)
            if not any(task.ask.excluded for task in self._open.values() if task.model.name == name):
                violate(f"{name} is woken though a worker is coming; {waiting} wait")

    def scaled(self, orchestrator: Orchestrator, effect: Scale) -> None:
        """An orchestrator asks for so many workers."""
        self.counts[f"scale {effect.reason}"] += 1
        self._scales.check(orchestrator, effect)

    def ticked(self, orchestrator: Orchestrator) -> None:
        """An orchestrator let time pass."""
        self._patience[orchestrator].check()
        check_bounds(orchestrator, len(self._open) + self._just_ended)
        writers = [each.name for each in self._running if each.leading]
        if len(writers) > 1:
            violate(f"{' and '.join(writers)} decide at the same time how many workers run")

    # What is looked at after each step.

    def step(self) -> None:
        """Look at what the last step touched."""
        if not self._touched:
            return
        touched, self._touched = self._touched, []
        for orchestrator, name in touched:
            if orchestrator.running:
                self._patience[orchestrator].looked(name)
                self._nobody_waits_in_vain(orchestrator, name)

    def _nobody_waits_in_vain(self, orchestrator: Orchestrator, name: str) -> None:
        line = orchestrator.board.line(name)
        if not line or orchestrator.board.paused:
            return
        free = [endpoint for endpoint in orchestrator.board.registry.endpoints_of(name) if endpoint.free]
        if not free:
            return
        for waiting in line:
            could = next((endpoint for endpoint in free if endpoint.recovered or endpoint.id not in waiting.ask.excluded), None)
            if could is not None:
                violate(f"a job waits for {name} beside {could.id}, which is free")

    def settled(self, orchestrator: Orchestrator) -> None:
        """Faults are over for long enough: what is believed must be what is."""
        registry, cluster = orchestrator.board.registry, self._cluster
        coming = orchestrator.watch.under_way
        believed = {each.id: (each.model, each.state, each.capacity) for each in registry.endpoints if _pod(each.id) not in coming}
        true = {pod.identity: (pod.model, pod.state, pod.capacity) for pod in cluster.all_pods() if pod.name not in coming}
        if believed != true:
            odd = sorted(set(believed.items()) ^ set(true.items()))
            violate(f"{orchestrator.name} believes otherwise than is true: {odd[:4]}")
        known = {model.name: model for model in registry.models if model.name not in coming}
        if known != {name: model for name, model in cluster.models.items() if name not in coming}:
            violate(f"{orchestrator.name} believes in other models than there are")
        ejected = [endpoint.id for endpoint in registry.endpoints if endpoint.ejected and endpoint.id in true]
        if ejected:
            violate(f"{orchestrator.name} still ejects {ejected[:4]}, which live")

    def over(self, orchestrators: list[Orchestrator]) -> None:
        """Nobody sends jobs any more, and all must have ended."""
        if self._open:
            number, task = next(iter(self._open.items()))
            violate(f"job {number} has not ended, and {len(self._open) - 1} others; it was lost on {task.lost}")
        for orchestrator in orchestrators:
            odd = [endpoint for endpoint in orchestrator.board.registry.endpoints if endpoint.in_flight or endpoint.work]
            if odd or orchestrator.board.registry.busy or orchestrator.budget.under_way:
                violate(f"{orchestrator.name} counts jobs where none are")

    # How.

    def _forget_end(self) -> None:
        self._just_ended -= 1

    def _longest_run(self, cost: float) -> float:
        return cost * self._plan.seconds_per_unit * SLOWEST

    def _seems(self, owner: Orchestrator, task: Task) -> float:
        """How long a job seems to run: where the first one of a model met a worker that hung, far longer than any does."""
        return owner.board.registry.expected(task.model.name, task.job.cost) / (1.0 + self._plan.skew)

    def _must_have_ended_try(self, task: Task, attempt: Attempt, excusable: bool) -> None:  # noqa: FBT001 - the heap gives positions
        if not task.open or task.attempt is not attempt:
            return
        identity = attempt.grant.endpoint.id
        excuse = self._excuse(identity) if excusable else 0.0
        if excuse:
            self._heap.after(excuse, self._must_have_ended_try, task, attempt, False)  # noqa: FBT003 - as above
        else:
            violate(f"job {task.job.number} runs on {identity} without an end")

    def _excuse(self, identity: str) -> float:
        """For how many seconds more a job may seem to run: on a worker that answers and makes no step, or is gone unheard."""
        pod = self._cluster.pods.get(_pod(identity))
        if pod is None or pod.identity != identity:
            return KEEPALIVE_SECONDS
        return FIRST_STILL_SECONDS if pod.frozen is not None and not pod.hung else 0.0

    def _in_order(self, owner: Orchestrator, task: Task) -> None:
        """A job may be passed by those that come while it would run itself, as long as that may seem to be."""
        key = self._line(owner, task)
        line = self._lines.get(key) if key not in self._unordered else None
        if task.ask.again or not line:
            return
        asked, _ = line[task.job.number]
        for number, (_, passable) in line.items():
            if passable < asked:
                violate(f"job {task.job.number} of {task.job.caller} is served before {number}")

    def _line(self, owner: Orchestrator, task: Task) -> tuple[str, str, str]:
        return owner.name, task.model.name, task.job.caller

    def _touch(self, orchestrator: Orchestrator, name: str) -> None:
        self._touched.append((orchestrator, name))


def _pod(identity: str) -> str:
    """The name of the pod that an endpoint is in."""
    return identity.rpartition(".")[0]
