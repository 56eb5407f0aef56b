"""The caller of a job: while it is served, somebody must notice that it hung up."""

import asyncio
from types import TracebackType

from stoker_orchestrator.app.body import Body, CallerGoneError
from stoker_orchestrator.app.interruption import Interruption
from stoker_orchestrator.app.timers import CoarseTimers

LOOK_AFTER_SECONDS = 0.02
"""A watch costs a tenth of the job path: a job that is over by then needs none, and a longer one loses nothing."""


class CallerWatch:
    """Interrupts the block when the caller hangs up, or when something goes wrong with the rest of its body.

    What the interruption then raises is CallerGoneError or the body's own error.
    """

    __slots__ = ("_body", "_interruption", "_task", "_timers")

    def __init__(self, body: Body, interruption: Interruption, timers: CoarseTimers) -> None:
        self._body = body
        self._interruption = interruption
        self._timers = timers
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if self._body.whole:
            self._timers.start(self, LOOK_AFTER_SECONDS, self._begin)
        else:
            self._begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timers.cancel(self)
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            await self._body.finished()
            await self._body.hang_up()
        except Exception as error:  # noqa: BLE001 - it is raised where the job is served
            self._interruption.stop(error)
        else:
            self._interruption.stop(CallerGoneError())
