"""What graphs need of a device: to record what a call launches, to launch it again at once, and to tell how long that takes."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Body = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a call: until everything was launched, and until the device was done."""

    launched: float
    done: float


class Recording(Protocol):
    """What a call launched."""

    def replay(self) -> None:
        """Launch it again, on whatever lies in the buffers that it read."""


class Recorder(Protocol):
    """A device that records."""

    exclusive: threading.Lock
    """Held while something is recorded, and by other threads while they do with the device what recording forbids."""

    def warm_up(self, body: Body) -> Any:
        """Run `body` where it will be recorded, so that libraries have set themselves up; returns its result."""

    def record(self, body: Body) -> tuple[Recording, Any]:
        """Record `body`; returns its result as well, which holds nothing before the first replay."""

    def renew(self) -> None:
        """Let the memory go that recordings have shared: none of them is held any more."""

    def took(self, body: Body) -> Took:
        """How long `body` takes."""


class CudaRecorder:
    """CUDA graphs that share one pool of memory.

    One stream for all, because torch lets recordings share memory only where they were made on one stream, and because cuBLAS
    keeps a workspace for each stream. Graphs that share memory spoil each other's results: whoever replays one takes its result
    out at once.

    torch takes no further recording into a pool that has lost its last one, so each pool has a small one that is kept.
    """

    def __init__(self, torch: Any) -> None:
        self.exclusive = threading.Lock()
        self._torch = torch
        self._stream = torch.cuda.Stream()
        self._pool: Any = None
        self._kept: Any = None

    def warm_up(self, body: Body) -> Any:
        """Run `body` on the recording stream, after and before all else."""
        cuda = self._torch.cuda
        self._stream.wait_stream(cuda.current_stream())
        with cuda.stream(self._stream):
            result = body()
        cuda.current_stream().wait_stream(self._stream)
        return result

    def record(self, body: Body) -> tuple[Recording, Any]:
        """Record `body`."""
        self._torch.cuda.synchronize()
        self._torch.cuda.empty_cache()
        if self._kept is None:
            self._begin_pool()
        try:
            return self._recorded(self._pool, body)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # what was recorded well brings torch's random numbers out of what was not
                self._begin_pool()
            raise

    def renew(self) -> None:
        """Let go of the pool; the next recording begins another one."""
        self._kept = None

    def _begin_pool(self) -> None:
        pool = self._torch.cuda.graph_pool_handle()
        kept, _ = self._recorded(pool, lambda: self._torch.zeros(1, device="cuda"))
        self._pool, self._kept = pool, kept

    def _recorded(self, pool: Any, body: Body) -> tuple[Any, Any]:
        """By ``thread_local`` other threads may go on allocating memory meanwhile.

        Not by ``torch.cuda.graph``: where a recording fails, that leaves the thread on the recording stream.
        """
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.stream(self._stream):
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                result = body()
                graph.capture_end()
            except BaseException:
                self._give_up(graph, pool)
                raise
        return graph, result

    def _give_up(self, graph: Any, pool: Any) -> None:
        """End a recording that failed.

        Once something that cannot be recorded was asked for, ending it fails as well (CUDA, "prohibited and unhandled operations"),
        and torch's allocator would stay in the middle of it: it could not free memory for anyone.
        """
        try:
            graph.capture_end()
        except RuntimeError:
            with contextlib.suppress(RuntimeError):
                self._torch._C._cuda_endAllocateToPool(self._torch.cuda.current_device(), pool)  # noqa: SLF001 - the only way

    def took(self, body: Body) -> Took:
        """By the host's clock between two moments at which the device is idle: that is what a caller waits."""
        self._torch.cuda.synchronize()
        began = time.perf_counter()
        body()
        launched = time.perf_counter() - began
        self._torch.cuda.synchronize()
        return Took(launched, time.perf_counter() - began)
