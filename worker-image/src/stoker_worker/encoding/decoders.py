"""Decoding strangers' pictures in processes apart, from the worker's side.

A decoder that dies or hangs costs one caller a refusal and is replaced; nobody else notices. A JPEG of 1024 × 1024 takes about 3 ms
longer than it would take here (``make bench-worker``, ``upload_ms``).
"""

import asyncio
import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from stoker_contracts.uploads import MAX_UPLOAD_PIXELS
from stoker_worker.encoding.decoder_wire import ANSWER, LENGTH, READY, SHARED_BYTES, Answer
from stoker_worker.encoding.uploads import UploadError, check_bytes

AT_A_TIME = 2
MAX_SECONDS = 20.0
"""That a picture may take. 16 million pixels take about a second on a core of their own."""
_START_SECONDS = 60.0
_MAX_WORDS = 1024
_BROKE = "the image cannot be decoded: a decoder broke on it"
_NOT_AGREED = "the decoder does not keep to what was agreed"
_PROGRAM = (sys.executable, "-P", "-m", "stoker_worker.encoding.decoder_process")
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
"""Variables that a decoder gets beside Python's own: a token is none of its business."""

_KEPT_BYTES = 16 * 2**20
"""Memory that a decoder keeps between pictures: to get it anew from the kernel costs more than to decode a JPEG."""
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2 * _KEPT_BYTES), "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES)}


class DecodersError(Exception):
    """Pictures cannot be decoded at all; no caller is to blame."""


class _LostError(Exception):
    """The decoder died or hung. `words` tell the caller; `blameless` when what came before may have done it."""

    def __init__(self, words: str, *, blameless: bool) -> None:
        super().__init__(words)
        self.blameless = blameless


class _Decoder:
    """One process."""

    def __init__(self, program: Sequence[str], seconds: float) -> None:
        self._seconds = seconds
        self._ready = False
        self._served = False
        self.lost = False
        with contextlib.ExitStack() as undo:
            self._memory = os.memfd_create("picture")
            undo.callback(os.close, self._memory)
            self._lend_memory()
            self._channel, theirs = socket.socketpair()
            undo.enter_context(self._channel)
            with theirs:
                self._process = _started([*program, str(self._memory)], theirs, self._memory)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def decode(self, data: bytes) -> Image.Image:
        """Raises UploadError, _LostError, DecodersError."""
        blameless, self._served, self.lost = self._served, True, True
        self._wait_until_ready()
        try:
            self._send(data)
        except OSError:
            raise _LostError(_BROKE, blameless=True) from None
        try:
            picture = self._answered(time.monotonic() + self._seconds)
        except TimeoutError:
            message = f"the image takes longer than {self._seconds:g} s to decode"
            raise _LostError(message, blameless=False) from None
        except OSError:
            raise _LostError(_BROKE, blameless=blameless) from None
        self.lost = False
        if isinstance(picture, UploadError):
            raise picture
        return picture

    def kill(self) -> None:
        """Stop the process, whatever it does."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Stop the process and give back what it was spoken to with."""
        self.kill()
        self._channel.close()
        os.close(self._memory)

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            self._ready = self._heard(len(READY), time.monotonic() + _START_SECONDS) == READY
        except OSError:
            message = "the process that decodes pictures does not start"
            raise DecodersError(message) from None

    def _send(self, data: bytes) -> None:
        os.pwrite(self._memory, data, 0)
        self._channel.sendall(LENGTH.pack(len(data)))

    def _answered(self, deadline: float) -> Image.Image | UploadError:
        kind, first, second = ANSWER.unpack(self._heard(ANSWER.size, deadline))
        if kind == Answer.PICTURE and first * second <= MAX_UPLOAD_PIXELS:
            return Image.frombuffer("RGB", (first, second), self._read(first * second * 3), "raw", "RGB", 0, 1)
        if kind == Answer.REFUSED and first <= _MAX_WORDS:
            return UploadError(self._read(first).decode(errors="replace"))
        raise OSError(_NOT_AGREED)

    def _lend_memory(self) -> None:
        """All of it, and nothing in it."""
        os.ftruncate(self._memory, 0)
        os.ftruncate(self._memory, SHARED_BYTES)

    def _read(self, size: int) -> bytearray:
        """From the memory. Read, not mapped: a decoder that cuts it off could end this process."""
        data = bytearray(size)
        if os.preadv(self._memory, [data], 0) != size:
            raise OSError(_NOT_AGREED)
        if size > _KEPT_BYTES:
            self._lend_memory()
        return data

    def _heard(self, size: int, deadline: float) -> bytes:
        """So many bytes from the socket. Raises OSError, TimeoutError among them."""
        self._channel.settimeout(max(0.001, deadline - time.monotonic()))
        said = self._channel.recv(size, socket.MSG_WAITALL)
        if len(said) < size:
            message = "the decoder is gone"
            raise ConnectionError(message)
        return said


def _started(command: Sequence[str], channel: socket.socket, memory: int) -> "subprocess.Popen[bytes]":
    inherited = {name: value for name, value in os.environ.items() if name.startswith("PYTHON") or name in _INHERITED}
    return subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=channel.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=inherited | _KEEP_MEMORY, pass_fds=[memory], start_new_session=True,
    )  # fmt: skip


class Decoders:
    """A few processes that decode. They are started by `start`, or else by the first picture."""

    def __init__(self, program: Sequence[str] = _PROGRAM, seconds: float = MAX_SECONDS, count: int = AT_A_TIME) -> None:
        self._program = program
        self._seconds = seconds
        self._count = count
        self._all: list[_Decoder] = []
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        self._changing = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(count, "decoder")

    async def decode(self, data: bytes) -> Image.Image:
        """An upright RGB picture of an uploaded file. Raises UploadError, and DecodersError when no process does it."""
        check_bytes(data)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, data)

    async def start(self) -> None:
        """Start the processes; they are ready some tenths of a second later, and nobody has to wait for that."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._start)

    def close(self) -> None:
        """End the processes. One that was forgotten ends by itself when this process does."""
        with self._changing:
            self._closed = True
            for decoder in self._all:
                decoder.kill()
        self._threads.shutdown(cancel_futures=True)
        for decoder in self._all:
            decoder.end()
        self._all.clear()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes."""
        return [decoder.pid for decoder in self._all]

    def _start(self) -> None:
        """As many as there should be. Raises DecodersError."""
        with self._changing:
            while len(self._all) < self._count:
                self._all.append(decoder := self._new())
                self._idle.put(decoder)

    def _new(self) -> _Decoder:
        if self._closed:
            message = "this worker ends"
            raise DecodersError(message)
        try:
            return _Decoder(self._program, self._seconds)
        except OSError:
            message = "the process that decodes pictures cannot be started"
            raise DecodersError(message) from None

    def _decode(self, data: bytes) -> Image.Image:
        """Each decoder that stood there may be harmed; one more is new."""
        for _ in range(self._count + 1):
            self._start()
            decoder = self._idle.get()
            try:
                return decoder.decode(data)
            except _LostError as lost:
                if not lost.blameless:
                    raise UploadError(str(lost)) from None
            finally:
                self._give_back(decoder)
        message = "the processes that decode pictures break again and again"
        raise DecodersError(message)

    def _give_back(self, decoder: _Decoder) -> None:
        """For the next picture; a lost one is replaced, so that the next one finds it started."""
        if not decoder.lost:
            self._idle.put(decoder)
            return
        decoder.end()
        with self._changing:
            self._all.remove(decoder)
        with contextlib.suppress(DecodersError):
            self._start()
