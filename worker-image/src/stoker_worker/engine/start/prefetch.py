"""Weights into the page cache while Python is busy importing: the load then finds them in memory."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CHUNK = 16 * 2**20
"""Bytes of one read."""
_READERS = 4
"""Reads at a time: what network and NVMe storage need to be busy (Run:ai's streamer: 8 readers 6 × one, docs/src/benchmarks.md)."""


class Prefetch:
    """Reads `files`, in their order, up to `room` bytes. A file that cannot be read is left to whoever loads it."""

    def __init__(self, files: Sequence[Path], room: int) -> None:
        self._chunks = _chunks(files, room)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._readers = [threading.Thread(target=self._read, name="prefetch", daemon=True) for _ in range(_READERS)]
        self._began = self._ended = time.monotonic()

    @property
    def seconds(self) -> float:
        """From the start to the last byte so far."""
        return self._ended - self._began

    def start(self) -> None:
        """Begin, and return at once."""
        self._began = self._ended = time.monotonic()
        for reader in self._readers:
            reader.start()

    def stop(self) -> None:
        """Read no further, and wait for the reads that are under way."""
        self._stopped.set()
        self.wait()

    def wait(self) -> None:
        """Return when all is read."""
        for reader in self._readers:
            reader.join()

    def _read(self) -> None:
        buffer = bytearray(CHUNK)
        while not self._stopped.is_set():
            with self._taking:
                chunk = next(self._chunks, None)
            if chunk is None:
                return
            with contextlib.suppress(OSError):
                _read_chunk(*chunk, buffer)
                with self._taking:
                    self._ended = time.monotonic()


def _chunks(files: Sequence[Path], room: int) -> Iterator[tuple[Path, int, int]]:
    """File, offset and size of each read."""
    for file in files:
        with contextlib.suppress(OSError):
            end = file.stat().st_size
            for offset in range(0, end, CHUNK):
                size = min(CHUNK, end - offset)
                room -= size
                if room < 0:
                    return
                yield file, offset, size


def _read_chunk(file: Path, offset: int, size: int, buffer: bytearray) -> None:
    """Read bytes of a file, where they are not in memory already."""
    with file.open("rb", buffering=0) as opened:
        descriptor = opened.fileno()
        if not _cached(descriptor, offset + size - 1):
            os.preadv(descriptor, [memoryview(buffer)[:size]], offset)


def _cached(descriptor: int, offset: int) -> bool:
    """Whether a chunk's last byte is in memory. The kernel reads ahead, so that its first one tells nothing of the others."""
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) > 0
    except OSError:
        return False
