"""Stopping one task's block from outside with an error of its own, as asyncio.timeout does for time."""

import asyncio
from types import TracebackType
from typing import Self


class Interruption:
    """``with Interruption() as interruption:`` - whoever calls `stop` makes the block end with that error.

    `stop` may be called while the block runs, from a callback or another task.
    """

    _error: Exception | None = None
    _task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        return self

    def stop(self, error: Exception) -> None:
        """End the block with `error`; the first one counts."""
        if self._error is None and self._task is not None:
            self._error = error
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._error is None or self._task is None:
            return
        if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise self._error from None
