"""One job's way through an orchestrator: a place on a worker for each try, and a second try where the first worker is lost.

It is what the job path does around the domain, rule for rule, with messages of the heap in the place of coroutines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from simulation.cluster import Work
from simulation.jobs import Job
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Model
from stoker_orchestrator.domain.retries import WORKERS
from stoker_orchestrator.domain.switchboard import Granted, Outcome

if TYPE_CHECKING:
    from simulation.desk import Desk, LocalDesk
    from simulation.orchestrator import Orchestrator

_FULL_PAUSE_SECONDS = 0.25
_JITTER_SECONDS = 0.05


class Task:
    """A job that an orchestrator has taken."""

    def __init__(self, orchestrator: Orchestrator, job: Job, model: Model) -> None:
        self.orchestrator = orchestrator
        self.job = job
        self.model = model
        self.ask = self._first = Ask(job.cost)
        self.task = self
        self.ticket: int | None = None
        """Its place in the line of its own orchestrator's switchboard."""
        self.number: int | None = None
        """What the leader was asked under."""
        self.attempt: Attempt | None = None
        self.lost: list[str] = []
        """Workers that the job was lost on."""
        self.open = True
        self._arrived = orchestrator.now
        self._asked = self._moved_at = self._arrived
        self._cold_before = 0.0
        self._cold_seconds = 0.0
        self._excluded: tuple[str, ...] = ()
        self._ended_workers: set[str] = set()
        self._on_budget = False

    def begin(self) -> None:
        """The job has come."""
        if self.orchestrator.quarantine.left(self.job.fingerprint, self.orchestrator.now):
            self.end("refused job_ends_workers")
        else:
            self._take()

    def _left(self) -> float | None:
        if self.job.timeout is None:
            return None
        return self.job.timeout - (self.orchestrator.now - self._arrived - self._cold_seconds)

    def _take(self) -> None:
        if not self.open:
            return
        excluded = self._excluded
        self.ask = self._first = Ask(self.job.cost, self.job.caller, self._left(), excluded=excluded)
        self._asked = self._moved_at = self.orchestrator.now
        self._cold_before = 0.0
        self.orchestrator.desk.take(self)

    def moved(self) -> None:
        """Places are given out elsewhere now: ask there, and the waiting so far counts."""
        self.orchestrator.checker.withdrawn(self)
        now, patience = self.orchestrator.now, self._first.patience
        if not self.orchestrator.board.registry.is_warm(self.model.name):
            self._cold_before += now - self._moved_at
        self._moved_at, waited = now, now - self._asked
        if patience is not None:
            patience = max(0.0, patience - (waited - self._cold_before))
        self.ask = replace(self._first, waited=self._first.waited + waited, patience=patience)
        self.orchestrator.desk.take(self)

    def granted(self, desk: LocalDesk, grant: Granted) -> None:
        """There is a place at this process's own desk."""
        desk.began(self.run(desk, grant))

    def run(self, desk: Desk, grant: Granted) -> Attempt:
        """Go to the worker."""
        now = self.orchestrator.now
        self._cold_seconds += grant.cold + self._cold_before
        self.attempt = Attempt(self, desk, grant, now)
        self.orchestrator.checker.delivered(self)
        self.attempt.begin(self._left())
        return self.attempt

    def refused(self, refusal: Refusal) -> None:
        """There is none, and there will not be."""
        self.end(f"refused {refusal.kind.value} {refusal.code or ''}".rstrip())

    def hang_up(self) -> None:
        """The caller is gone."""
        if not self.open:
            return
        if self.attempt is not None:
            self.attempt.cancel()
        else:
            self.orchestrator.desk.leave(self)
        self.end("gone")

    def lost_worker(self, identity: str, *, sent: bool) -> None:
        """A worker was lost before it answered."""
        self.lost.append(identity)
        if sent:
            self._ended_workers.add(identity)
        if len(self._ended_workers) >= WORKERS:
            self.orchestrator.quarantine.lock_up(self.job.fingerprint, self.orchestrator.now)
            self.end("refused job_ends_workers")
        elif len(self.lost) >= WORKERS:
            self.end("refused worker_lost")
        elif not self.orchestrator.budget.take(len(self.orchestrator.tasks)):
            self.end("refused worker_lost retry_budget")
        else:
            self._on_budget = True
            self._excluded += (identity,)

    def full(self) -> bool:
        """The worker is full with jobs that are not ours; False where that has gone on for too long."""
        if self.orchestrator.now - self._arrived > self.model.start_timeout:
            self.end("refused overloaded worker_full")
        return self.open

    def leaving(self, identity: str) -> None:
        """The worker takes no more jobs."""
        self._excluded += (identity,)

    def again(self) -> None:
        """Ask for another place, unless the job has ended."""
        self.attempt = None
        if self.open and self.lost:
            self.orchestrator.heap.after(self.orchestrator.heap.chance.uniform(0.0, _JITTER_SECONDS), self._take)
        else:
            self._take()

    def end(self, how: str) -> None:
        """The caller has its answer."""
        if self.open:
            self.open = False
            if self._on_budget:
                self.orchestrator.budget.give_back()
            self.orchestrator.ended(self, how)


class Attempt:
    """A try on one worker; it is the call that the worker answers."""

    def __init__(self, task: Task, desk: Desk, grant: Granted, began: float) -> None:
        self.task = task
        self.desk = desk
        self.grant = grant
        self.began = began
        self.open = True
        self._orchestrator = task.orchestrator

    def begin(self, left: float | None) -> None:
        """Send the job; it must be answered in so many seconds."""
        job, plan = self.task.job, self._orchestrator.plan
        seconds = job.cost * plan.seconds_per_unit
        self._orchestrator.workers.send(self._identity, Work(job.number, self, 0.0, seconds, job.poison))
        if left is not None:
            self._orchestrator.later(max(0.0, left), self._too_late)

    @property
    def _identity(self) -> str:
        return self.grant.endpoint.id

    def answered(self) -> None:
        """The worker did the job."""
        self._close(Outcome.SERVED)
        self.task.end("answered")

    def lost(self, *, sent: bool) -> None:
        """The worker could not be reached, or went away."""
        self.open = False
        self.task.lost_worker(self._identity, sent=sent)
        self._close(Outcome.LOST)
        self.task.again()

    def draining(self) -> None:
        """The worker takes no more jobs."""
        self.task.leaving(self._identity)
        self._close(Outcome.LEAVING)
        self.task.again()

    def full(self) -> None:
        """The worker has as many jobs as it takes: its slot is left alone for a moment."""
        self.open = False
        if self.task.full():
            self._orchestrator.later(_FULL_PAUSE_SECONDS, self._after_pause)
        else:
            self._close(Outcome.NEITHER)

    def _after_pause(self) -> None:
        if self.task.attempt is self and self.task.open:
            self._close(Outcome.NEITHER)
            self.task.again()

    def give_up(self) -> None:
        """The endpoint was ejected."""
        if self.open:
            self._abort()
            self.lost(sent=False)

    def cancel(self) -> None:
        """The caller, or the orchestrator, is gone."""
        self._abort()
        self._close(Outcome.NEITHER)

    def _too_late(self) -> None:
        if self.open:
            self.cancel()
            self.task.end("refused deadline_exceeded")

    def _abort(self) -> None:
        self.open = False
        self._orchestrator.workers.abort(self._identity, self.task.job.number)

    def _close(self, outcome: Outcome) -> None:
        self.open = False
        self.desk.give_back(self, outcome)
