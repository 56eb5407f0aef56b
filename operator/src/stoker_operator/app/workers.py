"""The tasks that take keys from the queue and reconcile them."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable

from stoker_operator.adapters.port import ClusterError, RefusedError
from stoker_operator.app.queue import KeyQueue, Pauses
from stoker_operator.domain.keys import Key

log = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Reconciles one key and returns after how many seconds to look again. Raises ClusterError and RefusedError."""


class Workers:
    """Several reconciles at a time, never two of one key."""

    def __init__(self, reconcile: Reconcile, count: int, pauses: Pauses | None = None) -> None:
        self._reconcile = reconcile
        self._count = count
        self._queue: KeyQueue[Key] = KeyQueue(pauses or Pauses(), random.random)
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, keys: Iterable[Key]) -> None:
        """Ask for reconciles. To be called in the loop's thread."""
        self._queue.add(keys, _now())
        self._woken.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is being reconciled or due now."""
        due = self._queue.next_due()
        return not self._queue.running and (due is None or due > _now())

    @property
    def alive(self) -> bool:
        """Whether all tasks run."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @property
    def longest_running(self) -> float:
        """Seconds since the oldest reconcile under way began; 0 where none is."""
        return max((_now() - began for began in self._queue.running.values()), default=0.0)

    def start(self) -> None:
        """Begin to reconcile."""
        self._tasks = [asyncio.create_task(self._work(), name=f"reconcile {index}") for index in range(self._count)]

    async def stop(self) -> None:
        """Give up what is under way; every step of a reconcile can be repeated."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            key = self._queue.take(_now())
            if key is None:
                await self._wait()
            else:
                await self._handle(key)

    async def _wait(self) -> None:
        self._woken.clear()
        due = self._queue.next_due()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - _now())):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _handle(self, key: Key) -> None:
        try:
            again_after = await self._reconcile(key)
        except (ClusterError, RefusedError) as error:
            pause = self._queue.failed(key, _now())
            log.warning("%s failed and is tried again in %.1f s: %s", key, pause, error)
        except Exception:
            pause = self._queue.failed(key, _now())
            log.exception("%s failed by a mistake of the operator and is tried again in %.1f s", key, pause)
        else:
            self._queue.done(key, _now(), again_after)
        self._woken.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
