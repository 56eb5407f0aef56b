"""One request and its answer."""

import asyncio
import http
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from stoker_orchestrator.app.body import Body
from stoker_orchestrator.app.replies import Headers
from stoker_orchestrator.domain.admission import Refusal

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BARE = frozenset({http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED})
"""Answers without a body."""
_LAST_CHUNK = b"0\r\n\r\n"
_SMALL = 16 * 1024
"""More than this is not worth copying."""


class Line(Protocol):
    """The connection of a caller, as far as its answers need it."""

    writable: bool
    closing: bool
    """Whether the next answer is the last."""
    late: bool
    """Whether the caller came when the server was stopping."""
    peer: str
    """The caller's address, without its port."""

    @property
    def date(self) -> bytes:
        """The header Date, and the end of the head."""

    def write(self, data: bytes) -> None:
        """Send `data`."""

    def when_writable(self, act: Callable[[], None]) -> None:
        """Call `act` once when the caller has caught up."""

    async def serve(self, exchange: "Exchange", work: Coroutine[Any, Any, None]) -> None:
        """Do the work that answers `exchange`."""

    def ended(self, exchange: "Exchange") -> None:
        """The answer to `exchange` is whole, or will never be."""


class Exchange:
    """A request, given by its head, and the way of its answer to the caller.

    `headers` have names in lower case, the last of each name. `refusal` is set where the request cannot even be understood.
    `keep` tells whether another request may follow. `error` is what ended it from outside; `on_stop` is told of it where no
    task serves the request.
    """

    __slots__ = (
        "_bare", "_chunked", "_head", "_line", "body", "error", "finished", "headers", "keep", "method", "minor", "on_stop",
        "refusal", "started", "target", "task",
    )  # fmt: skip

    def __init__(self, line: Line, method: bytes, target: bytes, headers: dict[bytes, bytes], body: Body) -> None:
        self._line = line
        self._head = b""
        self._bare = self._chunked = False
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.keep = True
        self.minor = 1
        self.refusal: Refusal | None = None
        self.task: asyncio.Task[None] | None = None
        self.error: Exception | None = None
        self.on_stop: Callable[[Exception], None] | None = None
        self.started = False
        self.finished = False

    @property
    def peer(self) -> str:
        """The caller's address, without its port."""
        return self._line.peer

    @property
    def late(self) -> bool:
        """Whether the caller came when the server was stopping."""
        return self._line.late

    @property
    def path(self) -> str:
        """The path, decoded; ``*`` and whatever else is no path as it stands."""
        try:
            return unquote(httptools.parse_url(self.target).path.decode("latin-1"))
        except (httptools.HttpParserInvalidURLError, AttributeError):
            return self.target.decode("latin-1")

    @property
    def query(self) -> bytes:
        """What stands behind the question mark."""
        return self.target.partition(b"?")[2]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Answer by `work`, in a task that ends with it or by `stop`."""
        self.task = asyncio.get_running_loop().create_task(self._line.serve(self, work))
        if self.error is not None:
            asyncio.get_running_loop().call_soon(self.task.cancel)

    def done(self) -> None:
        """Answered, without a task."""
        self._line.ended(self)

    def stop(self, error: Exception) -> None:
        """End what serves the request; it finds `error` when it is cancelled. The first one counts."""
        if self.error is None:
            self.error = error
            if self.on_stop is not None:
                self.on_stop(error)
            elif self.task is not None:
                # A task that is cancelled before its first step would not even tidy up.
                asyncio.get_running_loop().call_soon(self.task.cancel)

    def ended_by(self, cancellation: asyncio.CancelledError) -> Exception:
        """For whom `stop` has cancelled: the error that it was given. Raises `cancellation` where that is somebody else's."""
        if self.error is None or self.task is None or self.task.uncancel() > 0:
            raise cancellation
        return self.error

    def proceed(self) -> None:
        """The body is wanted: callers who asked before they send it are told so."""
        if not self.body.whole and self.minor and self.headers.get(b"expect", b"").lower() == b"100-continue":
            self._line.write(_CONTINUE)

    # Where the answer goes: `Reply`.

    @property
    def writable(self) -> bool:
        """Whether the caller keeps up."""
        return self._line.writable

    def when_writable(self, act: Callable[[], None]) -> None:
        """Call `act` once when the caller has caught up."""
        self._line.when_writable(act)

    def start(self, status: int, headers: Headers, lines: bytes = b"") -> None:
        """The head of the answer, of headers and of whole lines; it is sent with what follows."""
        self.started = True
        if not self.body.whole or self._line.closing:
            self.keep = False
        parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, lines]
        sized = False
        for name, value in headers:
            sized = sized or name == b"content-length"
            parts += (name, b": ", value, b"\r\n")
        self._frame(parts, status, sized=sized)
        parts.append(self._line.date)
        self._head = b"".join(parts)

    def _frame(self, parts: list[bytes], status: int, *, sized: bool) -> None:
        """How the caller sees where the answer ends."""
        self._bare = self.method == b"HEAD" or status in _BARE
        if not sized and not self._bare:
            self._chunked = bool(self.minor)
            if self._chunked:
                parts.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep = False
        if not self.keep:
            parts.append(b"connection: close\r\n")
        elif not self.minor:
            parts.append(b"connection: keep-alive\r\n")

    def write(self, data: bytes) -> bool:
        """Some of the body; whether the caller keeps up."""
        if self._bare:
            data = b""
        elif self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._send(data)
        return self._line.writable

    def finish(self, data: bytes = b"") -> None:
        """The last of the body."""
        self.finished = True
        if self._bare:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else _LAST_CHUNK
        self._send(data)

    def _send(self, data: bytes) -> None:
        """The head goes with the first bytes behind it, in one packet where both are small."""
        if self._head:
            if len(data) < _SMALL:
                data = self._head + data
            else:
                self._line.write(self._head)
            self._head = b""
        if data:
            self._line.write(data)
