"""One HTTP/1.1 connection to a worker, on httptools: a request out, its answer back, one exchange at a time.

An HTTP client library costs several times what the rest of the job path does, so the product has its own for the little that it
needs: POST, a kept connection, an answer that is read as it comes and slows the worker down where its caller is slow.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from stoker_orchestrator.adapters.framing import large_rest, split
from stoker_orchestrator.adapters.outbox import Outbox

HELD_BYTES = 256 * 1024
"""More of an answer is not kept for a caller who does not read; the worker waits then."""
_RESUME_BYTES = HELD_BYTES // 2


class WorkerLostError(Exception):
    """The worker could not be reached, or went away before it had answered.

    `sent` tells whether it may have had the job: only such a job can be what ended it.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Recipient(Protocol):
    """Where the body of an answer goes."""

    def write(self, data: bytes) -> bool:
        """Take some of it; False asks for a pause."""

    def finish(self, data: bytes = b"") -> None:
        """Take the last of it."""

    def when_writable(self, act: Callable[[], None]) -> None:
        """Call `act` once when the pause is over."""


class Connection(asyncio.Protocol):
    """A connection and the exchange that is under way on it.

    `status` is 0 until the answer's head is there, `silent` until its first byte is; `whole` once its last byte is. An answer must
    have a length or be chunked: one that ends with its connection is taken as broken off. `kept` tells that there was an exchange
    before, `spoiled` that there cannot be another. `news` is called when something has happened, where nobody awaits it.
    """

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._outbox = outbox or Outbox()
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._error: Exception | None = None
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._taken = 0
        self._plain = 0
        self._reading = True
        self._recipient: Recipient | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.silent = True
        self.whole = True
        self.kept = False
        self.spoiled = False
        self.idle_since = 0.0
        self.begun_at = 0.0
        self.news: Callable[[], None] | None = None

    @property
    def open(self) -> bool:
        """Whether another exchange can begin."""
        return self.whole and not self.spoiled and self._error is None

    @property
    def lost(self) -> bool:
        """Whether the exchange was ended by an error."""
        return self._error is not None

    def begin(self, request: bytes) -> None:
        """Start an exchange: send the head of a request, with its body where that is at hand."""
        self.status, self.headers, self.silent, self.whole, self._taken = 0, [], True, False, 0
        self.begun_at = self._loop.time()
        self._write(request)

    def keep(self) -> None:
        """Nobody uses it, from now on. What has come of the last answer and was not read must not reach the next caller."""
        self._chunks.clear()
        self._held = 0
        self._read_on()
        self.kept, self.idle_since = True, self._loop.time()

    async def send(self, data: bytes) -> None:
        """Send more of the request, as fast as the worker takes it. Raises what ended the exchange."""
        self._write(data)
        await self._writable.wait()
        if self._error is not None:
            raise self._error

    async def head(self) -> None:
        """Wait for the head of the answer. Raises what ended the exchange before it came."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._news()

    async def read(self) -> bytes:
        """The next bytes of the answer, nothing at its end. Raises what ended the exchange before."""
        while not self._chunks:
            if self.whole:
                return b""
            if self._error is not None:
                raise self._error
            await self._news()
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if self._held < _RESUME_BYTES:
            self._read_on()
        return chunk

    async def pass_to(self, recipient: Recipient) -> None:
        """Give what is left of the answer to `recipient` as it comes and is taken. Raises what ended the exchange before."""
        held = self.everything()
        if not self.whole:
            self._recipient = recipient
            try:
                self._give(recipient, held)
                await self._last_byte()
            finally:
                self._recipient = None
            held = b""
        self._read_on()
        recipient.finish(held)

    async def _last_byte(self) -> None:
        while not self.whole:
            if self._error is not None:
                raise self._error
            await self._news()

    def _give(self, recipient: Recipient, data: bytes) -> None:
        if not recipient.write(data):
            self._pause()
            recipient.when_writable(self._read_on)
        else:
            self._read_on()

    def _pause(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def fail(self, error: Exception) -> None:
        """End the exchange and the connection; whoever waits for the answer gets `error`."""
        if self._error is None:
            self._error = error
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def close(self) -> None:
        """Hang up; a worker takes that as the end of the job."""
        self.fail(WorkerLostError("the connection was given up"))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self._error is None:
            self._outbox.write(self._transport, data)

    def everything(self) -> bytes:
        """What has come of the body and was not read."""
        held = b"".join(self._chunks) if len(self._chunks) != 1 else self._chunks[0]
        self._chunks.clear()
        self._held = 0
        return held

    def _news(self) -> asyncio.Future[None]:
        self._reader = self._loop.create_future()
        return self._reader

    def _wake(self) -> None:
        if self.news is not None:
            self.news()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self._error is not None:
            self._writable.set()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; bytes that nobody asked for end the connection."""
        if self.whole:
            self.close()
            return
        self.silent = False
        try:
            if self._plain:
                self._take_plain(data)
            else:
                self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(WorkerLostError("the worker's answer is not HTTP"))
        if self._taken and not self._plain and not self.whole:
            self._plain = large_rest(dict(self.headers), self._taken) if self._parser.should_keep_alive() else 0
        if self._recipient is None or self.whole:
            self._wake()

    def _take_plain(self, data: bytes) -> None:
        """Bytes of a body past the parser, which would copy them; another parser goes on behind them."""
        body, more = split(data, self._plain)
        self._plain -= len(body)
        self.on_body(body)
        if not self._plain:
            self._parser = httptools.HttpResponseParser(self)
            self.whole = True
            if more:
                self._parser.feed_data(more)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's own signature
        """The worker, or the way to it, is gone."""
        self.fail(WorkerLostError("the worker went away before it had answered"))

    def pause_writing(self) -> None:
        """The worker takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The worker takes more."""
        self._writable.set()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of an answer."""
        if self.whole:
            message = "an answer that nobody asked for"
            raise ValueError(message)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole. What a server says in between (1xx) is no answer."""
        status = self._parser.get_status_code()
        if status < 200:  # noqa: PLR2004 - informational answers end here
            self.headers = []
        else:
            self.status = status

    def on_body(self, data: bytes) -> None:
        """Some of the body."""
        self._taken += len(data)
        if self._recipient is not None:
            self._give(self._recipient, data)
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held > HELD_BYTES:
            self._pause()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if not self.status:
            return
        self.whole = True
        if not self._parser.should_keep_alive():
            self.fail(WorkerLostError("the worker keeps no connection"))
