"""A request's body while it comes in: kept within bounds, so that it can be read twice.

At most 256 KiB of a job are in memory; what goes beyond lies in a temporary file. All jobs together keep at most the budget.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO

from stoker_orchestrator.app.asgi import Message, Receive
from stoker_orchestrator.app.interruption import Interruption
from stoker_orchestrator.app.timers import CoarseTimers

MEMORY_BYTES = 256 * 1024
_CHUNK = 64 * 1024


class BodyTooLargeError(Exception):
    """The body is larger than one request of its kind may be; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"larger than {limit} bytes")
        self.limit = limit


class BudgetSpentError(Exception):
    """All jobs together keep as much as they may."""


class StalledError(Exception):
    """The caller stopped sending."""


class CallerGoneError(Exception):
    """The caller hung up."""


@dataclass(slots=True)
class Budget:
    """Bytes that all bodies may keep together."""

    limit: int
    used: int = 0

    def take(self, count: int) -> None:
        """Reserve `count` bytes. Raises BudgetSpentError."""
        if self.used + count > self.limit:
            raise BudgetSpentError
        self.used += count

    def give_back(self, count: int) -> None:
        """Free what was reserved."""
        self.used -= count


class Body:
    """One request's body. `begun` is set once its first part is there, `whole` once its last byte is."""

    __slots__ = (
        "_budget", "_failure", "_file", "_grown", "_limit", "_memory", "_pump", "_receive", "_stall_seconds", "_timers",
        "begun", "gone", "size", "whole",
    )  # fmt: skip

    def __init__(self, receive: Receive, limit: int, budget: Budget, stall_seconds: float, timers: CoarseTimers) -> None:
        self._receive = receive
        self._limit = limit
        self._budget = budget
        self._stall_seconds = stall_seconds
        self._timers = timers
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._grown: asyncio.Event | None = None
        self._failure: Exception | None = None
        self.size = 0
        self.begun = False
        self.whole = False
        self.gone = False

    async def start(self) -> None:
        """Read the first part, however long it takes; when that is all, nothing runs beside the job."""
        self._take_in(await self._receive())
        self.begun = True
        if not self.whole:
            self._grown = asyncio.Event()
            self._pump = asyncio.create_task(self._read_on(self._grown))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its first byte, as far as it is there and then as it comes; may be called again."""
        place = 0
        while True:
            while place < self.size:
                chunk = self._at(place)
                place += len(chunk)
                yield chunk
            if self._failure is not None:
                raise self._failure
            if self.whole:
                return
            assert self._grown is not None  # noqa: S101 - the body has been started
            self._grown.clear()
            await self._grown.wait()

    def in_memory(self) -> bytes | None:
        """The whole body, where it is there and short enough to lie in memory."""
        return bytes(self._memory) if self.whole and self._file is None else None

    def head(self) -> bytes:
        """What lies in memory of the body: its beginning."""
        return bytes(self._memory)

    async def finished(self) -> None:
        """Wait until the body is whole. Raises what went wrong with it."""
        if not self.whole:
            async for _ in self.chunks():
                pass

    async def hang_up(self) -> None:
        """Wait until the caller is gone. The body must be whole."""
        while not self.gone:
            message = await self._receive()
            self.gone = message["type"] == "http.disconnect"

    async def close(self) -> None:
        """Forget everything."""
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        if self._file is not None:
            self._file.close()
        self._budget.give_back(self.size)
        self.size = 0

    async def _read_on(self, grown: asyncio.Event) -> None:
        try:
            with Interruption() as interruption:
                while not self.whole:
                    self._timers.start(self, self._stall_seconds, lambda: interruption.stop(StalledError()))
                    self._take_in(await self._receive())
                    grown.set()
        except (BodyTooLargeError, BudgetSpentError, StalledError, CallerGoneError) as error:
            self._failure = error
            grown.set()
        finally:
            self._timers.cancel(self)

    def _take_in(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.gone = True
            raise CallerGoneError
        self._keep(message.get("body", b""))
        self.whole = not message.get("more_body", False)

    def _keep(self, data: bytes) -> None:
        if self.size + len(data) > self._limit:
            raise BodyTooLargeError(self._limit)
        self._budget.take(len(data))
        self.size += len(data)
        if self._file is None and len(self._memory) + len(data) <= MEMORY_BYTES:
            self._memory += data
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._file.seek(0, 2)
        self._file.write(data)

    def _at(self, place: int) -> bytes:
        """Some bytes from `place` on: memory holds the head, the file the rest."""
        if place < len(self._memory):
            return bytes(self._memory[place : place + _CHUNK])
        assert self._file is not None  # noqa: S101 - bytes beyond memory are in the file
        self._file.seek(place - len(self._memory))
        return self._file.read(_CHUNK)
