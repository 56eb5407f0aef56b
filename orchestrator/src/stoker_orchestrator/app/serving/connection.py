"""One connection of a caller: requests are parsed as they come and answered one after the other."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import httptools

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.adapters.framing import large_rest, split
from stoker_orchestrator.app.body import Body, BrokenBodyError, CallerGoneError, StalledError
from stoker_orchestrator.app.replies import bad_request
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.serving.heads import HEAD_BYTES, judge, too_long
from stoker_orchestrator.app.serving.shared import Shared
from stoker_orchestrator.domain.admission import Refusal

log = logging.getLogger(__name__)

_LINGER_SECONDS = 10.0
"""How long a caller may go on sending what nobody reads, so that it can read its answer first (RFC 9112, section 9.6)."""


class CallerConnection(asyncio.Protocol):
    """What the event loop and the parser tell of one caller.

    `writable` tells whether the caller keeps up, `closing` whether the next answer is the last, `late` whether it came when the
    server was stopping, `peer` is its address without the port.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._unparsed = self._plain = 0
        self._exchange: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._incoming: Exchange | None = None
        self._resume: Callable[[], None] | None = None
        self._since = self._loop.time()
        self._written, self._taken = 0, -1
        self._fresh, self._deaf, self._paused = True, False, False
        self.writable = True
        self.closing = self.late = shared.stopping
        self.peer = ""

    @property
    def date(self) -> bytes:
        """The header Date, and the end of the head."""
        return self._shared.date

    def write(self, data: bytes) -> None:
        """Send `data`; what goes to a caller who is gone is lost."""
        self._written += len(data)
        self._shared.outbox.write(self._transport, data)

    def when_writable(self, act: Callable[[], None]) -> None:
        """Call `act` once when the caller has caught up."""
        self._resume = act

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller."""
        self._transport = cast("asyncio.Transport", transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._shared.enter(self):
            words = "all connections that this orchestrator takes are in use; try again later"
            self._reject(Refusal(503, ErrorType.OVERLOADED, words, "connections", 1))

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._incoming is None and len(data) > HEAD_BYTES:
            self._take_in(data[:HEAD_BYTES])
            data = data[HEAD_BYTES:]
        if self._plain and not self._deaf:
            data = self._take_plain(data)
        if data:
            self._take_in(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's own signature
        """The caller is gone."""
        self._shared.members.discard(self)
        self._deaf = True
        self.writable = False
        for exchange in self._waiting:
            exchange.body.close()
        self._waiting.clear()
        if self._exchange is not None:
            self._exchange.stop(CallerGoneError())

    def pause_writing(self) -> None:
        """The caller does not keep up."""
        self.writable = False

    def resume_writing(self) -> None:
        """The caller has caught up."""
        self.writable = True
        act, self._resume = self._resume, None
        if act is not None:
            act()

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        """Some of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those behind a body reach nobody."""
        if self._incoming is None:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """A head is whole."""
        if self._deaf:
            return
        self._fresh, self._unparsed = False, 0
        target, headers, self._target, self._headers = self._target, self._headers, b"", {}
        body = Body(self._shared.limits.body, self._shared.budget)
        exchange = Exchange(self, self._parser.get_method(), target, headers, body)
        exchange.keep = self._parser.should_keep_alive()
        if b"connection" in headers or not exchange.keep:
            exchange.minor = int(self._parser.get_http_version() != "1.0")
        exchange.refusal = judge(exchange, len(self._waiting), upgrade=b"upgrade" in headers and self._parser.should_upgrade())
        if exchange.refusal is None:
            body.failed = exchange.stop
            self._incoming = exchange
        else:
            self._deaf = True
        self._waiting.append(exchange)
        if not (self._paused or (self._exchange is None and self.writable)):
            self._paused = True
            self._transport.pause_reading()

    def on_body(self, data: bytes) -> None:
        """Some of a body."""
        self._unparsed = 0
        if self._incoming is not None:
            self._incoming.body.feed(data)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._unparsed = 0
        if self._incoming is not None:
            self._incoming.body.end()
            self._incoming = None

    # One request after the other.

    def _take_in(self, data: bytes) -> None:
        if self._deaf:
            return
        begins = not self._unparsed and not self._fresh
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Nothing is upgraded; the request was an ordinary one, and so is what follows.
            self._take_in(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._reject(bad_request("the request is not HTTP as it should be"))
        if self._unparsed >= HEAD_BYTES:
            self._reject(too_long())
        if self._incoming is not None:
            self._since = self._loop.time()
            body = self._incoming.body
            self._plain = large_rest(self._incoming.headers, body.size) if body.sound else 0
        elif begins and self._unparsed:
            self._since = self._loop.time()
        if self._exchange is None and self._waiting:
            self._begin()

    def _take_plain(self, data: bytes) -> bytes:
        """Bytes of a body past the parser, which would copy them; another parser takes what comes behind them."""
        body, more = split(data, self._plain)
        self._plain -= len(body)
        self._since = self._loop.time()
        self.on_body(body)
        if not self._plain:
            self._parser = httptools.HttpRequestParser(self)
            self.on_message_complete()
        return more

    def _reject(self, refusal: Refusal) -> None:
        """What comes cannot be understood: the last thing that is answered."""
        if self._deaf:
            return
        self._deaf = True
        if self._incoming is not None:
            self._incoming.body.fail(BrokenBodyError())
            return
        exchange = Exchange(self, b"", b"", {}, Body(0, self._shared.budget))
        exchange.refusal = refusal
        self._waiting.append(exchange)
        if self._exchange is None:
            self._begin()

    def _begin(self) -> None:
        """Serve the next request, once the caller takes the answers to those before."""
        if not self.writable:
            self._resume = self._begin
            return
        exchange = self._exchange = self._waiting.popleft()
        if self._paused and not self._waiting:
            self._paused = False
            self._transport.resume_reading()
        if exchange.refusal is not None:
            self._shared.handler.refuse(exchange, exchange.refusal)
            self.ended(exchange)
            return
        self._shared.handler.begin(exchange)

    async def serve(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Do the work that answers `exchange`."""
        try:
            await work
        except Exception:
            log.exception("a request failed in a way that was not foreseen")
            if not exchange.started:
                words = "this request could not be served; the log says why"
                self._shared.handler.refuse(exchange, Refusal(500, ErrorType.INTERNAL, words))
        finally:
            self.ended(exchange)

    def ended(self, exchange: Exchange) -> None:
        """The answer is whole, or will never be."""
        exchange.body.close()
        self._exchange = None
        self._since = self._loop.time()
        if self._transport.is_closing():
            return
        if not exchange.finished:
            self._transport.abort()
        elif not exchange.keep:
            self._last_words(heard=exchange.body.whole)
        elif self._waiting:
            self._begin()

    def _last_words(self, *, heard: bool) -> None:
        """Close behind the answer. A caller who still sends gets time to read it, which a reset would take away."""
        self._deaf = True
        self._shared.outbox.flush()
        if heard:
            self._transport.close()
            return
        self._transport.write_eof()

    # What the server calls.

    def sweep(self, now: float) -> None:
        """End what has lasted for too long."""
        unsent = self._transport.get_write_buffer_size()
        if unsent and self._written - unsent != self._taken:  # who takes something of an answer may take its time
            self._taken, self._since = self._written - unsent, now
        limits, quiet = self._shared.limits, now - self._since
        if unsent:
            if quiet > limits.stall:
                self._transport.abort()
        elif self._deaf:
            if self._exchange is None and quiet > _LINGER_SECONDS:
                self._transport.abort()
        elif self._incoming is not None:
            if quiet > limits.stall and not self._paused:
                self._incoming.body.fail(StalledError())
        elif self._exchange is None:
            self._sweep_unasked(quiet)

    def _sweep_unasked(self, quiet: float) -> None:
        limits = self._shared.limits
        if self._fresh or self._unparsed:
            if quiet > limits.head:
                words = f"the head of the request did not come within {limits.head:g} s"
                self._reject(Refusal(408, ErrorType.INVALID_REQUEST, words, "stalled"))
        elif quiet > limits.idle:
            self._transport.close()

    def wind_down(self) -> None:
        """The next answer is the last."""
        self.closing = True

    def expects(self, now: float) -> bool:
        """Whether the caller was answered just now and may come again."""
        return not self._fresh and self._exchange is None and now - self._since < self._shared.limits.farewell

    def hang_up(self) -> None:
        """Close where nothing is being served."""
        if self._exchange is None and not self._waiting:
            self._shared.outbox.flush()
            self._transport.close()

    def abort(self) -> None:
        """Close whatever happens."""
        self._transport.abort()
