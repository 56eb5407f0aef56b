"""Keeps the watch running: started again when it ends, with a growing pause, and given up when it ends all the time."""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)


class Watching(Protocol):
    """One life of a watch; a new one is made for each start."""

    ready: threading.Event

    def run(self) -> None:
        """Watch, in the thread that calls, until stopped or broken."""

    def stop(self) -> None:
        """End `run` soon; from any thread."""


class WatchLostError(Exception):
    """The watch ended so often in so short a time that a fresh process is the better try."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds between starts, doubled from `first` to `longest`; more than `limit` ends within `window` seconds are too many."""

    first: float = 0.5
    longest: float = 15.0
    limit: int = 10
    window: float = 120.0


class Supervisor:
    """Runs watches one after the other, each in a thread of its own. `restarted` is called before each but the first."""

    def __init__(self, make: Callable[[], Watching], restarted: Callable[[], None], patience: Patience | None = None) -> None:
        self._make = make
        self._restarted = restarted
        self._patience = patience or Patience()
        self._watch: Watching | None = None
        self._ends: list[float] = []

    @property
    def watching(self) -> bool:
        """Whether the watch runs now."""
        return self._watch is not None and self._watch.ready.is_set()

    async def run(self) -> None:
        """Keep watching until cancelled. Raises WatchLostError."""
        while True:
            await self._live_once()
            await asyncio.sleep(self._pause(asyncio.get_running_loop().time()))
            self._restarted()

    async def _live_once(self) -> None:
        """One life of a watch. The thread is a daemon, so that a watch which hangs cannot hold up the end of the process."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        watch = self._watch = self._make()

        def live() -> None:
            try:
                watch.run()
            except Exception as error:  # noqa: BLE001 - whatever it was, the watch is started again
                log.warning("the watch broke (%s: %s)", type(error).__name__, error)
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(over.set)

        threading.Thread(target=live, name="kopf", daemon=True).start()
        try:
            await over.wait()
        finally:
            watch.stop()
            self._watch = None

    def _pause(self, now: float) -> float:
        """How long to wait before the next start."""
        patience = self._patience
        self._ends = [end for end in self._ends if now - end < patience.window] + [now]
        if len(self._ends) > patience.limit:
            message = f"the watch ended {len(self._ends)} times within {patience.window:g} s"
            raise WatchLostError(message)
        pause = min(patience.longest, patience.first * 2 ** (len(self._ends) - 1))
        log.info("watching again in %.1f s", pause)
        return float(pause)
