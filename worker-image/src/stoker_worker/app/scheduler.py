"""The model thread and the line before it.

One thread owns the engine: it loads the model and runs job after job. The event loop owns the line and the worker's state,
and hands the thread one job at a time, so neither needs a lock.
"""

import asyncio
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stoker_contracts.worker import ExitReason, HealthState, Readiness
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.started import tell_start
from stoker_worker.domain.lifecycle import Lifecycle
from stoker_worker.domain.queue import JobQueue, Refusal
from stoker_worker.engine.protocol import CancelledError, Engine, EngineError, FatalEngineError, Outcome, Output, Pixels, Task

log = logging.getLogger(__name__)


class NotTakenError(Exception):
    """The worker did not take the job; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(slots=True)
class _Turn:
    """A job on its way through the thread."""

    ticket: int
    task: Task
    done: asyncio.Future[Output]
    queued_at: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    steps: int = 0
    """Steps made for it."""

    def stepped(self) -> frozenset[int]:
        """After each step, on the model's thread: stop here if the caller is gone."""
        self.steps += 1
        self.check()
        return frozenset()

    def check(self) -> None:
        """Raises CancelledError if the caller is gone."""
        if self.cancelled.is_set():
            message = "the caller is gone"
            raise CancelledError(message)


class Scheduler:
    """Takes jobs for one engine. `on_fatal` is told, on the event loop, when the engine is lost."""

    def __init__(self, engine: Engine, capacity: int, metrics: Metrics, on_fatal: Callable[[FatalEngineError], None]) -> None:
        self._engine = engine
        self._queue = JobQueue(capacity)
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._lifecycle = Lifecycle()
        self._turns: dict[int, _Turn] = {}
        self._tickets = itertools.count()
        self._handed: queue.SimpleQueue[_Turn] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._steps = 0

    def start(self) -> None:
        """Begin to load. The thread is a daemon: a hung model does not keep the process alive."""
        threading.Thread(target=self._own_the_model, name="model", daemon=True).start()

    async def run(self, task: Task) -> Output:
        """Wait for the job's turn and its result. Cancelling this call cancels the job. Raises NotTakenError, EngineError."""
        ticket = next(self._tickets)
        refusal = self._lifecycle.refusal or self._queue.admit(ticket)
        if refusal is not None:
            raise NotTakenError(refusal)
        turn = _Turn(ticket, task, self._loop.create_future(), time.monotonic())
        self._turns[ticket] = turn
        self._advance()
        try:
            return await asyncio.shield(turn.done)
        except asyncio.CancelledError:
            self._cancel(turn)
            raise

    def drain(self) -> None:
        """Take nothing new."""
        self._lifecycle = self._lifecycle.drained_from_now()

    async def idle(self) -> None:
        """Wait until no job is in the line and none runs."""
        await self._idle.wait()

    def readiness(self) -> Readiness:
        """What ``/ready`` says."""
        state = self._lifecycle
        return Readiness(
            ready=state.ready,
            state=state.state.value,
            in_flight=self._queue.in_flight,
            capacity=self._queue.capacity,
            steps=self._steps + sum(turn.steps for turn in self._turns.values()),
        )

    def health(self) -> HealthState:
        """What ``/health`` says."""
        return self._lifecycle.health(self._queue.in_flight)

    def _cancel(self, turn: _Turn) -> None:
        turn.cancelled.set()
        turn.done.add_done_callback(_heard)
        if self._queue.withdraw(turn.ticket):
            turn.done.cancel()
            self._forget(turn)

    def _advance(self) -> None:
        """Hand the thread the next job, if it is free."""
        ticket = self._queue.start()
        if ticket is not None:
            self._handed.put(self._turns[ticket])
        self._note_load()

    def _forget(self, turn: _Turn) -> None:
        if self._turns.pop(turn.ticket, None) is not None:
            self._steps += turn.steps
        self._note_load()

    def _note_load(self) -> None:
        self._metrics.in_flight.set(self._queue.in_flight)
        if self._queue.in_flight:
            self._idle.clear()
        else:
            self._idle.set()

    def _finished(self, turn: _Turn, result: Output | Exception) -> None:
        """On the event loop: a job has run to its end."""
        self._queue.finish(turn.ticket)
        if isinstance(result, FatalEngineError):
            self._lost(result)
        if not turn.done.done():
            if isinstance(result, Exception):
                turn.done.set_exception(result)
            else:
                turn.done.set_result(result)
        self._forget(turn)
        self._advance()

    def _loaded(self, seconds: float) -> None:
        self._metrics.load_seconds.set(seconds)
        self._lifecycle = self._lifecycle.loaded()
        tell_start(self._metrics)

    def _lost(self, error: FatalEngineError) -> None:
        self._lifecycle = self._lifecycle.failed()
        self._on_fatal(error)

    def _own_the_model(self) -> None:
        """The thread: load, then one job after the other for ever."""
        started = time.monotonic()
        try:
            self._engine.load(self._metrics.start_seconds_of)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must reach the termination message
            self._tell(self._lost, _fatal(error, ExitReason.LOAD_FAILED))
            return
        self._tell(self._loaded, time.monotonic() - started)
        while True:
            turn = self._handed.get()
            self._tell(self._finished, turn, self._run(turn))

    def _run(self, turn: _Turn) -> Output | Exception:
        started = time.monotonic()
        self._metrics.stage_seconds.labels("queue").observe(started - turn.queued_at)
        try:
            turn.check()
            return _output(turn.task, self._engine.run(turn.task.rows(), turn))
        except Exception as error:  # noqa: BLE001 - it belongs to the job, whose caller is told
            return error
        finally:
            self._metrics.stage_seconds.labels("inference").observe(time.monotonic() - started)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(what, *arguments)


def _output(task: Task, outcome: Outcome) -> Output:
    """The job's pictures. Raises the first error among its rows."""
    pictures: list[Pixels] = []
    for made in outcome.rows:
        if isinstance(made, EngineError):
            raise made
        pictures += made
    seeds = [row.seed for row in task.rows()]
    return Output(pictures, seeds)


def _fatal(error: Exception, reason: ExitReason) -> FatalEngineError:
    return error if isinstance(error, FatalEngineError) else FatalEngineError(reason, f"{type(error).__name__}: {error}")


def _heard(future: asyncio.Future[Output]) -> None:
    """An abandoned job's outcome is nobody's; asyncio complains about errors that nobody looks at."""
    if not future.cancelled():
        future.exception()
