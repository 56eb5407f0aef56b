"""Weights from safetensors files into tensors on a device, by several threads at once.

One thread brings 4 GB/s from the page cache to a card, for a card fetches by itself only from memory that is pinned. Here each
reader has two pinned buffers: while the card fetches what is in one of them, the next chunk of a file is read into the other.

Each tensor is an allocation of its own and no view of its file's bytes: it lies as kernels like it whatever the file's layout is,
takes its memory with it when it is parked or replaced, and numbers that get another format need no second copy of the whole file.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start.stored import Chunk, Piece, Stored, cut

CHUNK = 8 * 2**20
"""Bytes of one read. Pinning memory takes time as well: the buffers are 128 MiB in all."""
READERS = 8
"""Threads that read at a time."""
_BUFFERS = 2
"""Of each: one is read into while a card fetches the other."""
_SMALL = 2**20
"""Bytes up to which torch's allocator takes tensors from blocks of their own (``c10/cuda/CUDACachingAllocator.cpp``)."""
_ROUND = 512
"""Its allocations are multiples of so many bytes."""


@dataclass(slots=True)
class _Buffer:
    """Memory of the host that a chunk is read into, and of the device that it arrives in, where that is another one.

    Both may be overwritten once `copied` tells that what was queued before is done.
    """

    bytes: Any
    arrived: Any
    copied: Any = None
    chunk: Chunk | None = None


class Reader:
    """Fills tensors, component by component in the order of `parts`. `tensors` are there from the beginning, numbers later.

    A context: after it no thread is left and nothing is written any more. Raises torch's OutOfMemoryError.
    """

    def __init__(self, torch: Any, device: str, parts: Mapping[str, Mapping[str, Stored]], size: int = CHUNK) -> None:
        self._torch = torch
        self._device = device
        self._card = torch.cuda.current_device() if device == "cuda" else None
        self._size = size
        self._files = {stored.file for part in parts.values() for stored in part.values()}
        self._open: dict[Path, int] = {}
        self._closing = ExitStack()
        chunks = [chunk for name, part in parts.items() for chunk in cut(name, part, size)]
        self._chunks = deque(chunks)
        self._left = {name: sum(chunk.name == name for chunk in chunks) for name in parts}
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self.size = sum(chunk.size for chunk in chunks)
        self.threads = [threading.Thread(target=self._run, name="weights", daemon=True) for _ in range(min(READERS, len(chunks)))]
        self._began = self._ended = time.monotonic()
        self.tensors = self._allocate(parts)
        self._flat = {
            name: {key: self._flattened(part[key], made) for key, made in self.tensors[name].items()}
            for name, part in parts.items()
        }

    @property
    def seconds(self) -> float:
        """From the start to the last byte so far."""
        return self._ended - self._began

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for file in self._files:
                self._open[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
                opening.callback(os.close, self._open[file])
            self._closing = opening.pop_all()
        if self._device == "cuda":
            self._torch.cuda.synchronize()  # memory that is used again may still be written by what was queued before
        self._began = self._ended = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._chunks.clear()
        for thread in self.threads:
            thread.join()
        self._closing.close()
        if self._device == "cuda":
            self._torch.cuda.empty_cache()  # what the readers' own queues have used, no other queue could use again

    def wait(self, *names: str) -> None:
        """Return once the tensors of these components have their numbers. Raises what a reader failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not any(self._left[name] for name in names))
            if self._error is not None:
                raise self._error

    def _allocate(self, parts: Mapping[str, Mapping[str, Stored]]) -> dict[str, dict[str, Any]]:
        """All tensors, empty. A card's memory is asked for once: each asking takes a tenth of a millisecond or more."""
        torch = self._torch
        if self._device == "cuda":
            sizes = [stored.nbytes for part in parts.values() for stored in part.values()]
            total = sum(-(-size // _ROUND) * _ROUND for size in sizes if size > _SMALL)
            with suppress(torch.OutOfMemoryError):  # there may yet be room in several places
                torch.empty(total, dtype=torch.uint8, device=self._device)
        return {
            name: {key: torch.empty(stored.shape, dtype=stored.dtype, device=self._device) for key, stored in part.items()}
            for name, part in parts.items()
        }

    def _flattened(self, stored: Stored, tensor: Any) -> Any:
        """A tensor as what is copied to: bytes, or its numbers where they get another format than they have in the file.

        Made before readers begin: each call into torch lets other threads go first, and may take long while networks are built.
        """
        flat = tensor.view(-1)
        return flat.view(self._torch.uint8) if stored.source == stored.dtype else flat

    def _run(self) -> None:
        try:
            with self._queue() as queue:
                buffers: deque[_Buffer] = deque()
                while self._chunks:
                    # The second one is made once the first is on its way: to pin memory takes its time.
                    buffer = self._buffer() if len(buffers) < _BUFFERS else buffers.popleft()
                    buffers.append(buffer)
                    self._settle(buffer)
                    chunk = self._next()
                    if chunk is not None:
                        self._fill(chunk, buffer, queue)
                for buffer in buffers:
                    self._settle(buffer)
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            self._chunks.clear()
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next(self) -> Chunk | None:
        with suppress(IndexError):
            return self._chunks.popleft()
        return None

    @contextmanager
    def _queue(self) -> Iterator[Any]:
        """What the copies of one reader are queued in; None where they are done at once. All of them are done afterwards."""
        if self._device != "cuda":
            yield None
            return
        cuda = self._torch.cuda
        cuda.set_device(self._card)  # each thread has a current card of its own
        stream = cuda.Stream()
        with cuda.stream(stream):
            try:
                yield stream
            finally:
                stream.synchronize()

    def _buffer(self) -> _Buffer:
        memory = self._memory()
        if self._device != "cuda":
            return _Buffer(memory, memory)
        arrived = self._torch.empty(self._size, dtype=self._torch.uint8, device=self._device)
        return _Buffer(memory, arrived, self._torch.cuda.Event(blocking=True))  # it waits without keeping a core busy

    def _memory(self) -> Any:
        """A buffer, pinned where the host gives that for a card."""
        torch = self._torch
        if self._device == "cuda":
            with suppress(RuntimeError):
                return torch.empty(self._size, dtype=torch.uint8, pin_memory=True)
        return torch.empty(self._size, dtype=torch.uint8)

    def _fill(self, chunk: Chunk, buffer: _Buffer, queue: Any) -> None:
        """Read a chunk, and send it on its way."""
        first = chunk.pieces[0].stored
        room = memoryview(buffer.bytes.numpy())[: chunk.size]
        read_fully(self._open[first.file], room, first.data + chunk.begin, first.file)
        self._send(chunk, buffer)
        buffer.chunk = chunk
        if queue is not None:
            buffer.copied.record(queue)

    def _send(self, chunk: Chunk, buffer: _Buffer) -> None:
        """Bring a chunk's bytes to the device as a whole, and hand them out to their tensors there.

        A copy from the host for each of a model's thousands of small tensors would keep the interpreter from who builds networks.
        """
        torch = self._torch
        begin, arrived = chunk.begin, buffer.arrived
        if arrived is not buffer.bytes:
            arrived[: chunk.size].copy_(buffer.bytes[: chunk.size], non_blocking=True)
        pairs = [self._pair(chunk.name, piece, arrived[piece.begin - begin : piece.end - begin]) for piece in chunk.pieces]
        same = [pair for pair in pairs if pair[0].dtype == pair[1].dtype]
        if same:
            torch._foreach_copy_(*(list(side) for side in zip(*same, strict=True)))
        for place, numbers in pairs:
            if place.dtype != numbers.dtype:
                place.copy_(numbers)

    def _pair(self, name: str, piece: Piece, found: Any) -> tuple[Any, Any]:
        """The place of a piece in its tensor, and what belongs there: bytes, or numbers that get another format."""
        stored = piece.stored
        flat = self._flat[name][piece.key]
        first, last = piece.begin - stored.begin, piece.end - stored.begin
        if stored.source == stored.dtype:
            return (flat, found) if last - first == len(flat) else (flat[first:last], found)
        size = stored.source.itemsize
        numbers = found.view(stored.source) if found.storage_offset() % size == 0 else found.clone().view(stored.source)
        return flat[first // size : last // size], numbers

    def _settle(self, buffer: _Buffer) -> None:
        """Wait until a buffer's last chunk has arrived, and tell so."""
        if buffer.chunk is None:
            return
        if buffer.copied is not None:
            buffer.copied.synchronize()
        with self._changed:
            self._left[buffer.chunk.name] -= 1
            self._ended = time.monotonic()
            if not self._left[buffer.chunk.name]:
                self._changed.notify_all()
        buffer.chunk = None


def read_fully(descriptor: int, room: memoryview, offset: int, file: Path) -> None:
    """Fill `room` with the bytes of a file from `offset` on. Raises FatalEngineError where it ends before."""
    done = 0
    while done < len(room):
        size = os.preadv(descriptor, [room[done:]], offset + done)
        if size == 0:
            message = f"{file.parent.name}: {file.name} is cut off; fetch it again"
            raise FatalEngineError(ExitReason.WEIGHTS_MISSING, message)
        done += size
