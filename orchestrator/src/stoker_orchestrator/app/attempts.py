"""Which workers a job meets: a slot for each try, and a second try where the first worker was lost before it answered.

Tries are bounded three ways: a job is lost on at most two workers, second tries on a budget that grows with what is under way, and
a job that ended two workers is refused when it is sent again.
"""

import asyncio
import hashlib
import math
import random
import time
from dataclasses import dataclass, field

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.adapters.upstream import Pending, WorkerLostError
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.desk import RefusedError, Slot
from stoker_orchestrator.app.forwarding import Forwarder
from stoker_orchestrator.app.interruption import Interruption
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.target import Target
from stoker_orchestrator.app.timers import CoarseTimers
from stoker_orchestrator.app.worker_errors import WorkerFullError, WorkerLateError, WorkerLeavingError
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.retries import WORKERS, Quarantine, RetryBudget
from stoker_orchestrator.domain.switchboard import Outcome

FULL_PAUSE_SECONDS = 0.25
"""How long a worker that is full is left alone."""
_JITTER_SECONDS = 0.05
"""Jobs that were lost together do not come back together."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A try that is under way."""

    slot: Slot
    pending: Pending


class _DeadlineError(Exception):
    """The caller's time for the job is over."""


@dataclass(slots=True)
class _Course:
    """What a job has met since `arrived`. `cold` are the seconds that it waited for a first worker."""

    arrived: float
    cold: float = 0.0
    excluded: tuple[str, ...] = ()
    lost: int = 0
    ended: set[str] = field(default_factory=set)
    on_budget: bool = False
    begun: Begun | None = None

    def left(self, timeout: float | None) -> float | None:
        """Seconds that are left of the caller's time; cold starts are not counted."""
        return None if timeout is None else timeout - (time.monotonic() - self.arrived - self.cold)


class Attempts:
    """Brings jobs and workers together."""

    def __init__(self, broker: Broker, forwarder: Forwarder, metrics: Metrics, timers: CoarseTimers) -> None:
        self._broker = broker
        self._forwarder = forwarder
        self._metrics = metrics
        self._timers = timers
        self._budget = RetryBudget()
        self._quarantine = Quarantine()
        self.under_way = 0

    @property
    def wary(self) -> bool:
        """Whether each job must be looked at before it runs, because some ended their workers."""
        return bool(self._quarantine) and self._quarantine.wary(time.monotonic())

    async def serve(self, job: Job, target: Target, begun: Begun | None = None) -> None:
        """Wait for a worker and send the job there, to a second one where the first is lost. `begun`: it is on a worker already.

        Raises RefusedError, and WorkerLostError once the answer has begun.
        """
        course = _Course(time.monotonic(), begun=begun)
        self.under_way += 1
        try:
            while not await self._try(job, target, course):
                pass
        finally:
            self.under_way -= 1
            if course.on_budget:
                self._budget.give_back()

    async def _try(self, job: Job, target: Target, course: _Course) -> bool:
        """One worker; False where the job may meet another."""
        patience = course.left(job.timeout)
        ask = Ask(target.cost, job.caller, patience, excluded=course.excluded)
        begun, course.begun = course.begun, None
        if begun is None and self._quarantine:
            self._check_quarantine(job, target)
        slot = begun.slot if begun is not None else await self._broker.take(target.model, ask)
        course.cold += slot.cold
        try:
            await self._on_worker(job, slot, course, begun)
        except WorkerFullError:
            self._still_patient(target, course)
            await asyncio.sleep(FULL_PAUSE_SECONDS)  # the slot stays taken meanwhile, as it is
        except WorkerLeavingError:
            slot.outcome = Outcome.LEAVING
            course.excluded += (slot.endpoint.id,)
        except WorkerLostError as error:
            slot.outcome = Outcome.LOST
            if job.started:
                job.reason = "worker_lost"
                raise
            self._lost(job, target, course, slot, error)
            course.excluded += (slot.endpoint.id,)
        except (_DeadlineError, WorkerLateError):
            self._too_late(job)
        else:
            return True
        finally:
            self._broker.give_back(slot)
        if course.lost:
            await asyncio.sleep(random.uniform(0, _JITTER_SECONDS))  # noqa: S311 - spreads retries, keeps no secret
        return False

    async def _on_worker(self, job: Job, slot: Slot, course: _Course, begun: Begun | None) -> None:
        """The job on one worker, until it is answered, or the caller's time is over, or the worker is given up."""
        left = course.left(job.timeout)
        with Interruption() as interruption:
            slot.give_up = lambda: interruption.stop(WorkerLostError("the worker does not answer any more", sent=False))
            if left is not None:
                self._timers.start(slot, left, lambda: interruption.stop(_DeadlineError()))
            try:
                await self._forwarder.forward(job, slot, left, begun.pending if begun is not None else None)
            finally:
                slot.give_up = None
                self._timers.cancel(slot)

    def _lost(self, job: Job, target: Target, course: _Course, slot: Slot, error: WorkerLostError) -> None:
        """A worker was lost before it answered. Raises RefusedError where the job may not be tried again."""
        course.lost += 1
        if error.sent:
            course.ended.add(slot.endpoint.id)
        if len(course.ended) >= WORKERS:
            self._quarantine.lock_up(_fingerprint(job, target), time.monotonic())
            self._metrics.decisions.labels("quarantine", "ended_workers", target.model.name).inc()
            words = f"{WORKERS} workers ended while they ran this job, so it is not tried again"
            raise RefusedError(Refusal(502, ErrorType.JOB_ENDS_WORKERS, words))
        if course.lost >= WORKERS:
            words = "the worker went away before it answered, and at the second try as well"
            raise RefusedError(Refusal(502, ErrorType.WORKER_LOST, words, retry_after=5))
        if not self._budget.take(self.under_way):
            words = "the worker went away before it answered, and too many jobs are being tried again already"
            raise RefusedError(Refusal(502, ErrorType.WORKER_LOST, words, "retry_budget", 5))
        course.on_budget = True
        self._metrics.retries.labels(target.model.name).inc()
        self._metrics.decisions.labels("retry", "worker_lost", target.model.name).inc()

    def _check_quarantine(self, job: Job, target: Target) -> None:
        left = self._quarantine.left(_fingerprint(job, target), time.monotonic())
        if left:
            words = f"this very job ended {WORKERS} workers; it is not run for another {math.ceil(left)} s"
            raise RefusedError(Refusal(422, ErrorType.JOB_ENDS_WORKERS, words, retry_after=math.ceil(left)))

    def _still_patient(self, target: Target, course: _Course) -> None:
        if time.monotonic() - course.arrived > target.model.start_timeout:
            words = "the workers are full with jobs of another orchestrator; try again later"
            raise RefusedError(Refusal(503, ErrorType.OVERLOADED, words, "worker_full", 5)) from None

    def _too_late(self, job: Job) -> None:
        if job.started:
            job.reason = "deadline"
            message = "the caller's time was over in the middle of the answer"
            raise WorkerLostError(message) from None
        words = f"the job was not answered within the {job.timeout:g} s that it was given"
        raise RefusedError(Refusal(504, ErrorType.DEADLINE_EXCEEDED, words)) from None


def _fingerprint(job: Job, target: Target) -> bytes:
    """What tells this very job from others: its model and body. Of a long body the head, and how long it is."""
    return hashlib.sha256(b"%b\n%d\n%b" % (target.model.name.encode(), job.body.size, job.body.head())).digest()
