"""A request's body while it comes in: kept within bounds, so that it can be read twice.

At most 256 KiB of a job are in memory; what goes beyond lies in a temporary file. All jobs together keep at most the budget.
"""

import asyncio
import errno
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

MEMORY_BYTES = 256 * 1024
_CHUNK = 64 * 1024
_SPARE_FILES = 64
_SPARE_BYTES = MEMORY_BYTES
"""So many files, cut to such a size, are kept for the next bodies. A body that has a file counts for no less than this."""


class BodyTooLargeError(Exception):
    """The body is larger than one request of its kind may be; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"larger than {limit} bytes")
        self.limit = limit


class BudgetSpentError(Exception):
    """All jobs together keep as much as they may."""


class DiskFullError(Exception):
    """What goes beyond memory could not be written to its file."""


class StalledError(Exception):
    """The caller stopped sending."""


class CallerGoneError(Exception):
    """The caller hung up."""


class BrokenBodyError(Exception):
    """The body is not framed as HTTP wants it."""


class SpareFiles:
    """Temporary files without a name, kept for the next body: their content means nothing, but pages that are there fill faster."""

    def __init__(self) -> None:
        self._spare: list[int] = []

    def open(self) -> int:
        """A file that nobody else has."""
        if self._spare:
            return self._spare.pop()
        with tempfile.TemporaryFile(buffering=0) as file:
            return os.dup(file.fileno())

    def close(self, file: int) -> None:
        """The file is needed no longer."""
        if len(self._spare) >= _SPARE_FILES:
            os.close(file)
            return
        if os.fstat(file).st_size > _SPARE_BYTES:
            os.ftruncate(file, _SPARE_BYTES)
        self._spare.append(file)


@dataclass(slots=True)
class Budget:
    """Bytes that all bodies may keep together, and the files for those that do not lie in memory."""

    limit: int
    used: int = 0
    files: SpareFiles = field(default_factory=SpareFiles)

    def take(self, count: int) -> None:
        """Reserve `count` bytes. Raises BudgetSpentError."""
        if self.used + count > self.limit:
            raise BudgetSpentError
        self.used += count

    def give_back(self, count: int) -> None:
        """Free what was reserved."""
        self.used -= count


class Body:
    """One request's body. `whole` is set once its last byte is there.

    The connection gives it its bytes by `feed`, `end` and `fail`; `failed` is called once with what went wrong.
    """

    __slots__ = ("_budget", "_failure", "_file", "_last", "_limit", "_memory", "_waiting", "failed", "size", "whole")

    def __init__(self, limit: int, budget: Budget) -> None:
        self._limit = limit
        self._budget = budget
        self._memory: bytes | bytearray = b""
        self._file = -1
        self._last = b""
        self._waiting: list[asyncio.Future[None]] | None = None
        self._failure: Exception | None = None
        self.failed: Callable[[Exception], None] | None = None
        self.size = 0
        self.whole = False

    @property
    def sound(self) -> bool:
        """Whether nothing went wrong with it so far."""
        return self._failure is None

    def feed(self, data: bytes) -> None:
        """The next bytes. What comes after a failure is forgotten."""
        if self._failure is None:
            try:
                self._keep(data)
            except (BodyTooLargeError, BudgetSpentError, DiskFullError) as error:
                self.fail(error)
            self._wake()

    def end(self) -> None:
        """There are no more bytes."""
        self.whole = self._failure is None
        self._wake()

    def fail(self, error: Exception) -> None:
        """The body will not become whole."""
        if self._failure is None and not self.whole:
            self._failure = error
            self._wake()
            if self.failed is not None:
                self.failed(error)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its first byte, as far as it is there and then as it comes; may be called again."""
        place = 0
        while True:
            while place < self.size:
                chunk = self._at(place)
                if chunk is self._last:
                    self._last = b""
                place += len(chunk)
                yield chunk
            if self._failure is not None:
                raise self._failure
            if self.whole:
                return
            await self._news()

    def in_memory(self) -> bytes | None:
        """The whole body, where it is there and short enough to lie in memory."""
        return bytes(self._memory) if self.whole and self._file < 0 else None

    def head(self) -> bytes:
        """What lies in memory of the body: its beginning."""
        return bytes(self._memory)

    async def finished(self) -> None:
        """Wait until the body is whole. Raises what went wrong with it."""
        while not self.whole:
            if self._failure is not None:
                raise self._failure
            await self._news()

    def close(self) -> None:
        """Forget everything."""
        if self._file >= 0:
            self._budget.files.close(self._file)
            self._file = -1
        self._budget.give_back(self.size)
        self.size, self._memory, self._last = 0, b"", b""

    async def _news(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting = [*(self._waiting or ()), future]
        await future

    def _wake(self) -> None:
        if self._waiting is not None:
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting = None

    def _keep(self, data: bytes) -> None:
        size = self.size + len(data)
        if size > self._limit:
            raise BodyTooLargeError(self._limit)
        self._budget.take(len(data))
        if self._file < 0 and size <= MEMORY_BYTES:
            self._memory = data if not self.size else self._joined(data)
        else:
            try:
                self._spill(data)
            except OSError as error:
                self._budget.give_back(len(data))
                log.error("a body could not be written to the folder for temporary files: %s", error.strerror)  # noqa: TRY400 - said in words
                raise DiskFullError from None
        self.size, self._last = size, data if self._waiting is not None else b""

    def _joined(self, data: bytes) -> bytearray:
        """Most bodies come in one piece, which is kept as it is."""
        if not isinstance(self._memory, bytearray):
            self._memory = bytearray(self._memory)
        self._memory += data
        return self._memory

    def _spill(self, data: bytes) -> None:
        """Raises OSError. A disk that is nearly full takes some of the data and calls that no error."""
        if self._file < 0:
            self._file = self._budget.files.open()
        if os.pwrite(self._file, data, self.size - len(self._memory)) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _at(self, place: int) -> bytes:
        """Some bytes from `place` on: memory holds the head, the file the rest. Who waited for them needs to look into neither."""
        if self._last and place == self.size - len(self._last):
            return self._last
        if place < len(self._memory):
            return bytes(self._memory[place : place + _CHUNK])
        return os.pread(self._file, min(_CHUNK, self.size - place), place - len(self._memory))
