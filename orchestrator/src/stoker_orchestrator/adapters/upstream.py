"""HTTP to the workers: kept connections, bodies streamed both ways."""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from stoker_orchestrator.adapters.address import Address, parsed
from stoker_orchestrator.adapters.connection import Connection, Recipient, WorkerLostError
from stoker_orchestrator.adapters.outbox import Outbox

__all__ = ["Answer", "Upstream", "WorkerLostError"]

Headers = list[tuple[bytes, bytes]]
Chunks = Callable[[], AsyncIterator[bytes]]
"""Gives a body from its first byte, each time it is called."""

_CONNECT_SECONDS = 5.0
KEEP_SECONDS = 30.0
"""How long a connection is kept without a job; shorter than a worker keeps it."""
_STALE_SECONDS = 1.0
"""A kept connection that the worker had closed fails at once; what fails later was a job under way."""
_MIDWAY = "the worker went away in the middle of its answer"
_PROBES = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""A worker whose node is gone without a word is noticed in 30 s."""


@dataclass(slots=True)
class Answer:
    """The head of a worker's answer, names in lower case; the body follows as it comes."""

    status: int
    headers: Headers
    address: str
    connection: Connection

    async def read(self) -> bytes:
        """The next bytes of the body, nothing at its end. Raises WorkerLostError when it breaks off."""
        try:
            return await self.connection.read()
        except WorkerLostError as error:
            raise WorkerLostError(_MIDWAY) from error

    async def pass_to(self, recipient: Recipient) -> None:
        """Give the rest of the body to `recipient` as it comes. Raises WorkerLostError when it breaks off."""
        try:
            await self.connection.pass_to(recipient)
        except WorkerLostError as error:
            raise WorkerLostError(_MIDWAY) from error

    async def everything(self) -> bytes:
        """The body at once, for short ones."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)


class Upstream:
    """The client side of the job path. No time limit: a video takes as long as it takes, and the caller may hang up.

    An address is ``host:port`` or a URL with a base path. `trust` is who is believed behind ``https``: by default the system's
    authorities, and the host must match.
    """

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self._trust = trust
        self._outbox = Outbox()
        self._idle: dict[str, list[Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def post(self, address: str, path: str, lines: bytes, body: bytes | Chunks, length: int | None = None) -> Answer:
        """Send a job and wait for the head of its answer, which must be given to `release`, read or not.

        `lines` are whole lines of the request's head. `length` is the number of bytes that `body` will give, where that is known.
        Cancelling the call cancels the job. Raises WorkerLostError, and what the body raises.
        """
        request = _Request(_beginning(address, path) + lines, body, length)
        return await self._answered(Pending(address, request))

    def begin(self, address: str, path: str, lines: bytes, body: bytes) -> "Pending | None":
        """Send a job without waiting, where a connection is kept; its answer is had by `finish`, or read from its connection."""
        connection = self._kept(address)
        if connection is None:
            return None
        request = _Request(_beginning(address, path) + lines, body, None)
        connection.begin(request.begin)
        return Pending(address, request, connection)

    async def finish(self, pending: "Pending") -> Answer:
        """Wait for the head of the answer to a job that was begun. As `post`."""
        return await self._answered(pending)

    def release(self, answer: Answer) -> None:
        """The answer has been read, or is of no use any more: then the worker is told by the end of its connection."""
        self.give_back(answer.address, answer.connection)

    def give_back(self, address: str, connection: Connection) -> None:
        """Keep a connection for the next job, where that is possible."""
        if not connection.open:
            connection.close()
            return
        connection.keep()
        self._idle.setdefault(address, []).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._forget_idle)

    def close(self) -> None:
        """Close all idle connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _answered(self, pending: "Pending") -> Answer:
        """The head of the answer, on the connection that the job was begun on or on another."""
        loop = asyncio.get_running_loop()
        request, sent = pending.request, False
        while True:
            connection = pending.connection
            if connection is None:
                connection = self._kept(pending.address) or await self._connected(_located(pending.address), sent=sent)
                connection.begin(request.begin)
            try:
                await (connection.head() if request.whole else request.send(connection))
            except WorkerLostError:
                if not (connection.kept and connection.silent) or loop.time() - connection.begun_at > _STALE_SECONDS:
                    raise
                sent, pending.connection = True, None
            except BaseException:
                connection.close()
                raise
            else:
                return Answer(connection.status, connection.headers, pending.address, connection)

    async def _connected(self, place: Address, *, sent: bool) -> Connection:
        """A new connection. `sent`: the job was on a kept one before, which may have been closed because of it."""
        trust = self._authorities() if place.secure else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                made = loop.create_connection(lambda: Connection(self._outbox), place.host, place.port, ssl=trust)
                transport, connection = await made
        except ssl.SSLError as error:
            message = "the worker's certificate is not trusted, or it does not speak TLS"
            raise WorkerLostError(message, sent=sent) from error
        except (OSError, TimeoutError) as error:
            message = "the worker could not be reached"
            raise WorkerLostError(message, sent=sent) from error
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES:
            line.setsockopt(socket.IPPROTO_TCP, option, value)
        return connection

    def _authorities(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context()
        return self._trust

    def _kept(self, address: str) -> Connection | None:
        connections = self._idle.get(address, [])
        while connections:
            connection = connections.pop()
            if connection.open:
                return connection
        return None

    def _forget_idle(self) -> None:
        """Close what nobody used for so long, so that a worker that is gone leaves nothing behind."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_SECONDS
        for address, connections in list(self._idle.items()):
            used = [connection for connection in connections if connection.open and connection.idle_since > oldest]
            for connection in connections:
                if connection not in used:
                    connection.close()
            self._idle[address] = used
        self._idle = {address: used for address, used in self._idle.items() if used}
        self._sweep = loop.call_later(KEEP_SECONDS, self._forget_idle) if self._idle else None


@functools.lru_cache(maxsize=4096)
def _beginning(address: str, path: str) -> bytes:
    """How a request to this address and path begins."""
    place = _located(address)
    return b"POST %b%b HTTP/1.1\r\nhost: %b\r\n" % (place.base, path.encode(), place.authority)


def _located(address: str) -> Address:
    try:
        return parsed(address)
    except ValueError as error:
        message = "the worker's address cannot be understood"
        raise WorkerLostError(message, sent=False) from error


class _Request:
    """A request that can be sent again: how it begins, which is the `whole` of it where the body is at hand."""

    __slots__ = ("_body", "_chunked", "begin", "whole")

    def __init__(self, head: bytes, body: bytes | Chunks, length: int | None) -> None:
        self._body = body
        self._chunked = length is None
        self.whole = isinstance(body, bytes)
        if isinstance(body, bytes):
            self.begin = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        elif length is None:
            self.begin = head + b"transfer-encoding: chunked\r\n\r\n"
        else:
            self.begin = b"%bcontent-length: %d\r\n\r\n" % (head, length)

    async def send(self, connection: Connection) -> None:
        """Send the body and wait for the head of the answer, which may come before the request is whole."""
        assert not isinstance(self._body, bytes)  # noqa: S101 - such a body has been sent with the head
        sending = asyncio.create_task(self._send(connection, self._body()))
        try:
            await connection.head()
        finally:
            connection.spoiled = not sending.done()
            sending.cancel()

    async def _send(self, connection: Connection, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in chunks:
                await connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)
            if self._chunked:
                await connection.send(b"0\r\n\r\n")
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the answer
            connection.fail(error)


@dataclass(slots=True)
class Pending:
    """A job for an address, and the connection that it was sent on already."""

    address: str
    request: _Request
    connection: Connection | None = None
