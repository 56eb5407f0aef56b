"""Where jobs wait for the model and get what became of them: the event loop's side of the line.

The event loop owns the worker's state and its clocks; the model's thread runs what stands in the line (`ModelThread`).
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from stoker_contracts.worker import ExitReason, HealthState, Readiness
from stoker_worker.app.desk import Desk, Ending, Turn
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.model_thread import ModelThread
from stoker_worker.app.started import tell_start
from stoker_worker.domain.cost import row_cost
from stoker_worker.domain.lifecycle import Lifecycle
from stoker_worker.domain.line import Refusal
from stoker_worker.domain.watchdog import Progress, Watchdog
from stoker_worker.engine.protocol import Engine, FatalEngineError, Output, Task

log = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS = 1.0
_NO_BATCH = Progress(-1, None, 0, least=300.0)
"""Jobs wait and none runs: the thread is somewhere else, for instance parks. To pin tens of gigabytes takes a minute."""


class NotTakenError(Exception):
    """The worker did not take the job; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class EngineLostError(Exception):
    """The engine was lost while it ran the job. Nobody knows what it has done: the caller must be told as by a crash."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Most rows of a batch, most seconds without progress, seconds without a job after which the weights are parked (0: never)."""

    max_batch: int
    step_timeout: float
    park_after: float


class Scheduler:
    """Takes jobs for one engine. `on_fatal` is told, on the event loop, when the engine is lost; the process must end then."""

    def __init__(
        self,
        engine: Engine,
        capacity: int,
        metrics: Metrics,
        on_fatal: Callable[[FatalEngineError], None],
        rules: Rules,
    ) -> None:
        self._engine = engine
        self._desk = Desk(capacity, rules.max_batch)
        self._thread = ModelThread(engine, self._desk, metrics, self, rules.park_after)
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._lifecycle = Lifecycle()
        self._turns: set[Turn] = set()
        self._tickets = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._interval = min(_LOOK_EVERY_SECONDS, rules.step_timeout / 4)
        self._watchdog = Watchdog(rules.step_timeout, self._interval)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    async def run(self, task: Task) -> Output:
        """Wait for the job's turn and its result. Cancelling this call cancels the job.

        Raises NotTakenError, EngineError and EngineLostError.
        """
        rows = task.rows()
        turn = Turn(next(self._tickets), task, rows, self._loop.create_future(), time.monotonic())
        refusal = self._lifecycle.refusal or self._too_late(task) or self._admit(turn)
        if refusal is not None:
            raise NotTakenError(refusal)
        self._turns.add(turn)
        self._note_load()
        try:
            return await turn.done
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    def drain(self) -> None:
        """Take nothing new."""
        self._lifecycle = self._lifecycle.drained_from_now()

    async def idle(self) -> None:
        """Wait until no job is in the line and none runs."""
        await self._idle.wait()

    def readiness(self) -> Readiness:
        """What ``/ready`` says."""
        state, desk = self._lifecycle, self._desk
        return Readiness(
            ready=state.ready, state=state.state.value, in_flight=desk.in_flight, capacity=desk.capacity, steps=desk.steps
        )

    def health(self) -> HealthState:
        """What ``/health`` says."""
        return self._lifecycle.health(self._desk.in_flight)

    def loaded(self, seconds: float) -> None:
        """The thread has loaded the model."""
        self._metrics.load_seconds.set(seconds)
        self._lifecycle = self._lifecycle.loaded()
        tell_start(self._metrics)

    def parked(self, parked: bool) -> None:  # noqa: FBT001 - as the thread tells it
        """The thread has moved the weights off the device, or back."""
        self._lifecycle = self._lifecycle.parked() if parked else self._lifecycle.unparked()

    def ended(self, endings: list[Ending]) -> None:
        """The thread has run these jobs to their end."""
        for turn, result in endings:
            self._turns.discard(turn)
            if turn.done.done() or result is None:
                continue
            if isinstance(result, Exception):
                turn.done.set_exception(result)
            else:
                turn.done.set_result(result)
        self._note_load()

    def late(self, turns: list[Turn]) -> None:
        """These jobs were dropped before they began."""
        self._metrics.late_jobs.inc(len(turns))
        self.ended([(turn, NotTakenError(Refusal.LATE)) for turn in turns])

    def lost(self, error: FatalEngineError) -> None:
        """The engine is lost: who waits is sent elsewhere, and whose job it ran learns that."""
        if self._lifecycle.refusal is Refusal.FAILED:
            return
        self._lifecycle = self._lifecycle.failed()
        self._on_fatal(error)
        self.ended([(turn, NotTakenError(Refusal.FAILED)) for turn in self._desk.abandon()])
        self.ended([(turn, EngineLostError()) for turn in self._turns.copy()])

    def _too_late(self, task: Task) -> Refusal | None:
        return Refusal.LATE if task.deadline is not None and task.deadline <= time.monotonic() else None

    def _admit(self, turn: Turn) -> Refusal | None:
        """Take the job into the line, where the places of jobs whose time is over are free."""
        self._drop_late()
        row = turn.rows[0]
        return self._desk.admit(turn, self._engine.key(row), row_cost(row.job, row.size))

    def _leave(self, turn: Turn) -> None:
        """The caller is gone."""
        if self._desk.leave(turn):
            self._turns.discard(turn)
            self._note_load()

    def _drop_late(self) -> None:
        late = self._desk.expire(time.monotonic())
        if late:
            self.late(late)

    def _note_load(self) -> None:
        self._metrics.in_flight.set(self._desk.in_flight)
        if self._turns:
            self._idle.clear()
            self._look_later()
        else:
            self._idle.set()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._look)

    def _look(self) -> None:
        """Every so often while there are jobs: drop those whose time is over, and see that the thread gets on."""
        self._timer = None
        self._drop_late()
        seconds = self._watchdog.look(time.monotonic(), self._progress())
        if seconds is not None:
            words = f"no progress for {seconds:.0f} s: the model hangs"
            self.lost(FatalEngineError(ExitReason.ENGINE_FAILED, words))
        elif self._turns:
            self._look_later()

    def _progress(self) -> Progress | None:
        batch = self._desk.running
        if batch is not None:
            return Progress(batch.number, batch.key, batch.steps)
        return _NO_BATCH if self._turns else None
