"""The caller of a job: while it is served, somebody must notice that it hung up, or that it sends nothing."""

import asyncio
from types import TracebackType
from typing import Self

from stoker_orchestrator.app.body import Body, CallerGoneError, StalledError
from stoker_orchestrator.app.interruption import Interruption
from stoker_orchestrator.app.timers import CoarseTimers

LOOK_AFTER_SECONDS = 0.02
"""A watch costs a tenth of the job path: a job that is over by then needs none, and a longer one loses nothing."""


class CallerWatch(Interruption):
    """Interrupts the block when the caller hangs up, or when something goes wrong with its body.

    What is raised then is CallerGoneError or the body's own error; StalledError where no byte of it comes for `stall_seconds`.
    """

    _stalled_at: float | None = None
    _watching: asyncio.Task[None] | None = None

    def __init__(self, body: Body, stall_seconds: float, timers: CoarseTimers) -> None:
        self._body = body
        self._stall_seconds = stall_seconds
        self._timers = timers

    def __enter__(self) -> Self:
        self._timers.start(self, LOOK_AFTER_SECONDS, self._look)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timers.cancel(self)
        if self._watching is not None:
            self._watching.cancel()
        super().__exit__(kind, error, trace)

    def _look(self) -> None:
        """The block still runs: watch the caller from the first byte of its body on."""
        now = asyncio.get_running_loop().time()
        if self._stalled_at is None:
            self._stalled_at = now - LOOK_AFTER_SECONDS + self._stall_seconds
        if self._body.begun:
            self._watching = asyncio.create_task(self._watch())
        elif now >= self._stalled_at:
            self.stop(StalledError())
        else:
            self._timers.start(self, LOOK_AFTER_SECONDS, self._look)

    async def _watch(self) -> None:
        try:
            await self._body.finished()
            await self._body.hang_up()
        except Exception as error:  # noqa: BLE001 - it is raised where the job is served
            self.stop(error)
        else:
            self.stop(CallerGoneError())
