"""uvicorn's connections, with bounds on what a stranger may leave open: heads of requests and answers that are not taken."""

import asyncio
from typing import Any

import orjson
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stoker_contracts.errors import ErrorType, error_body

MAX_HEAD_BYTES = 2**16
"""Of a request's line and headers, give or take what comes in one piece."""
MAX_REST_BYTES = 2**26
"""Of a body, after its request was answered: a caller sends on until it has heard, but not for ever."""
HEAD_SECONDS = 30.0
"""In which a head must come, from its first byte, and the first one from the connection's begin."""
ANSWER_SECONDS = 600.0
"""In which an answer must be taken."""
_BREAK_OFF = "break_off"


def break_off(scope: Scope) -> None:
    """Break off the connection of this request, as a crash would. `scope` must come from a BoundedConnection."""
    scope["state"][_BREAK_OFF]()


class BoundedConnection(HttpToolsProtocol):
    """One connection of a caller."""

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self._head_bytes = 0
        self._rest_bytes = 0
        self._in_head = True
        self._head_ends: asyncio.TimerHandle | None = None
        self._answer_ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._head_begins()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._head_is_over()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Part of a head, of a body, or of nothing."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"the head of the request is larger than {MAX_HEAD_BYTES} bytes")
        elif self.cycle.response_complete and self._head_ends is None:
            # uvicorn stops waiting for the next head at any byte, and these were none of one.
            self._head_ends = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def on_message_begin(self) -> None:
        """The next head begins."""
        super().on_message_begin()
        self.scope["state"][_BREAK_OFF] = self.transport.abort
        self._head_is_over()
        self._head_begins()

    def on_headers_complete(self) -> None:
        """The head is over, a body may follow."""
        self._head_is_over()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of a body, which nobody reads any more once its request was answered."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._rest_bytes += len(body)
            if self._rest_bytes > MAX_REST_BYTES:
                self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """As JSON, like every other error of a worker."""
        body = orjson.dumps(error_body(msg, ErrorType.INVALID_REQUEST))
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)
        self.transport.close()

    def pause_writing(self) -> None:
        """The caller takes its answer more slowly than it comes."""
        super().pause_writing()
        self._answer_ends = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has taken nearly all."""
        super().resume_writing()
        if self._answer_ends is not None:
            self._answer_ends.cancel()
            self._answer_ends = None

    def _head_begins(self) -> None:
        self._in_head, self._head_bytes, self._rest_bytes = True, 0, 0
        self._head_ends = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_is_over(self) -> None:
        self._in_head = False
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None
