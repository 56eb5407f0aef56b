"""The thread that owns the engine: it loads the model and runs batch after batch."""

import asyncio
import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from stoker_contracts.worker import ExitReason
from stoker_worker.app.desk import Batch, BatchEnd, Desk, Ending, Turn
from stoker_worker.app.error_report import report
from stoker_worker.app.metrics import Metrics
from stoker_worker.engine.protocol import Engine, FatalEngineError, Outcome

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told, on the event loop, what happens on the thread."""

    def loaded(self, seconds: float) -> None:
        """The model is in memory, after so long."""

    def parked(self, parked: bool) -> None:  # noqa: FBT001 - it is what is told
        """The weights have left the device, or are back."""

    def ended(self, endings: list[Ending]) -> None:
        """These jobs are over."""

    def late(self, turns: list[Turn]) -> None:
        """These jobs were dropped, for their callers' time is over."""

    def lost(self, error: FatalEngineError) -> None:
        """The engine cannot go on, and the thread has ended."""


class ModelThread:
    """Takes batches from the desk. With `park_after` more than 0 the weights are parked after so many seconds without one."""

    def __init__(self, engine: Engine, desk: Desk, metrics: Metrics, listener: Listener, park_after: float) -> None:
        self._engine = engine
        self._desk = desk
        self._metrics = metrics
        self._listener = listener
        self._park_after = park_after
        self._parked = False
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to load. The thread is a daemon: a hung model does not keep the process alive."""
        threading.Thread(target=self._own_the_model, name="model", daemon=True).start()

    def _own_the_model(self) -> None:
        try:
            self._load()
            while True:
                self._serve(self._next_batch())
        except FatalEngineError as error:
            self._tell(self._listener.lost, error)
        except BaseException as error:  # noqa: BLE001 - a panic of machine code too: the worker must not live on without its thread
            log.error("the model's thread broke: %s", report(error))  # noqa: TRY400 - a trace ends in the error's text
            words = f"the engine broke: {type(error).__name__}"
            self._tell(self._listener.lost, FatalEngineError(ExitReason.ENGINE_FAILED, words))

    def _load(self) -> None:
        started = time.monotonic()
        try:
            self._desk.loaded(self._engine.load(self._metrics.start_seconds_of))
        except FatalEngineError:
            raise
        except BaseException as error:
            raise FatalEngineError(ExitReason.LOAD_FAILED, f"{type(error).__name__}: {error}") from error
        self._metrics.graphs_are(self._engine.graphs())
        self._tell(self._listener.loaded, time.monotonic() - started)

    def _next_batch(self) -> Batch:
        """Wait for it. Who waits long enough parks the weights, or tries it again later; they are back before it is run."""
        late = self._desk.expire(time.monotonic())
        if late:
            self._tell(self._listener.late, late)
        while (batch := self._desk.take(None if self._parked else self._park_after or None)) is None:
            self._note_parked(parked=self._engine.park())
        return batch

    def _note_parked(self, *, parked: bool) -> None:
        if parked is not self._parked:
            self._parked = parked
            self._metrics.parked.set(parked)
            self._metrics.graphs_are(self._engine.graphs())
            self._tell(self._listener.parked, parked)

    def _serve(self, batch: Batch) -> None:
        """Run one batch and tell whose jobs are over. Raises FatalEngineError. Nothing of it is kept when the next one runs."""
        if self._parked:
            self._engine.unpark()
            self._note_parked(parked=False)
        started = time.monotonic()
        self._note_start(batch, started)
        outcome = self._run(batch)
        seconds = time.monotonic() - started
        end, endings = self._desk.settle(batch, outcome, seconds)
        self._note_end(batch, end, seconds)
        self._tell(self._listener.ended, endings)

    def _note_end(self, batch: Batch, end: BatchEnd, seconds: float) -> None:
        self._metrics.stage_seconds.labels("inference").observe(seconds)
        self._metrics.steps.inc(batch.steps)
        self._metrics.batches.labels(end.value).inc()
        self._metrics.rows_limit.set(self._desk.limit(batch.key))
        self._metrics.graphs_are(self._engine.graphs())

    def _note_start(self, batch: Batch, now: float) -> None:
        self._metrics.batch_rows.observe(len(batch.rows))
        for turn in batch.turns:
            if not turn.begun:
                turn.begun = True
                self._metrics.stage_seconds.labels("queue").observe(now - turn.queued_at)

    def _run(self, batch: Batch) -> Outcome | Exception:
        try:
            batch.check()
            outcome = self._engine.run(batch.rows, batch)
        except FatalEngineError:
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the jobs, whose callers are told
            _let_go(error)
            return error
        if len(outcome.rows) != len(batch.rows):
            return RuntimeError(f"the engine answered for {len(outcome.rows)} of {len(batch.rows)} rows")
        return outcome

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: the process ends, and nobody listens
            self._loop.call_soon_threadsafe(what, *arguments)


def _let_go(error: BaseException) -> None:
    """Free what the frames of a failed run hold, and so the card's memory; where it failed can still be logged."""
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
