"""A card played by the CPU: its copies are made late, when somebody waits for them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stoker_worker.engine.start.reader import Reader, _Buffer
from stoker_worker.engine.start.stored import Chunk


class PlayedStream:
    """Copies that are asked for and not made yet."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []
        self.made = 0

    def run(self, end: int) -> None:
        for copy in self.asked[self.made : end]:
            copy()
        self.made = max(self.made, end)

    def synchronize(self) -> None:
        self.run(len(self.asked))


class PlayedEvent:
    """A place in a stream."""

    def __init__(self, *, blocking: bool) -> None:
        self.blocking = blocking
        self.at: tuple[PlayedStream, int] | None = None

    def record(self, stream: PlayedStream) -> None:
        self.at = (stream, len(stream.asked))

    def synchronize(self) -> None:
        if self.at is not None:
            self.at[0].run(self.at[1])


class Cuda:
    """``torch.cuda``, as far as readers use it."""

    Stream, Event = PlayedStream, PlayedEvent

    def __init__(self) -> None:
        self.own = threading.local()
        self.streams: list[PlayedStream] = []

    def current_device(self) -> int:
        return 0

    def empty_cache(self) -> None:
        """Nothing is kept for later."""

    def set_device(self, card: int) -> None:
        assert card == 0

    def synchronize(self) -> None:
        for stream in self.streams:
            stream.synchronize()

    @contextmanager
    def stream(self, stream: PlayedStream) -> Iterator[None]:
        self.streams.append(stream)
        self.own.stream = stream
        yield
        self.own.stream = None


class PlayedTorch:
    """torch with such a card. Without `pins` the host has no memory to pin."""

    def __init__(self, torch: Any, *, pins: bool = True) -> None:
        self.real = torch
        self.cuda = Cuda()
        self.pinned = 0
        self._pins = pins

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def empty(self, *size: Any, pin_memory: bool = False, device: str = "cpu", **rest: Any) -> Any:
        if pin_memory and not self._pins:
            message = "CUDA error: out of memory"
            raise RuntimeError(message)
        self.pinned += pin_memory
        return self.real.empty(*size, **rest)


class PlayedReader(Reader):
    """A reader whose copies such a card makes."""

    def _send(self, chunk: Chunk, buffer: _Buffer) -> None:
        send = super()._send
        self._torch.cuda.own.stream.asked.append(lambda: send(chunk, buffer))
