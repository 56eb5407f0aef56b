"""GET /healthz: 200 while the operator does its work, else 503 with what is wrong."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

STUCK_SECONDS = 120.0
"""A reconcile that takes longer hangs. Each phase of a request ends after 15 s, and where there are many to make (the entries of
a models config), they are made side by side."""
MISSED_RESYNCS = 3
_REQUEST_SECONDS = 5.0
_MAX_REQUEST_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Vitals:
    """What health follows from; times in seconds. `resync_age` is None before everything was listed once."""

    watching: bool
    workers_alive: bool
    longest_reconcile: float
    resync_age: float | None
    resync_period: float

    @property
    def ailments(self) -> list[str]:
        """What is wrong; nothing when the operator does its work."""
        found = []
        if self.resync_age is None:
            return ["the resources could not be listed yet"]
        if not self.watching:
            found.append("the watch is down")
        if not self.workers_alive:
            found.append("a worker task has ended")
        if self.longest_reconcile > STUCK_SECONDS:
            found.append(f"a reconcile has been running for {self.longest_reconcile:.0f} s")
        if self.resync_age > MISSED_RESYNCS * self.resync_period:
            found.append(f"the last resync was {self.resync_age:.0f} s ago")
        return found


class HealthServer:
    """A very small HTTP server for the kubelet's probes."""

    def __init__(self, ailments: Callable[[], Sequence[str]]) -> None:
        self._ailments = ailments
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was chosen where `port` is 0. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_REQUEST_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b" ")[:2]))
                await writer.drain()
        writer.close()

    def _answer(self, request: list[bytes]) -> bytes:
        if request != [b"GET", b"/healthz"]:
            return _response("404 Not Found", "there is only GET /healthz\n")
        ailments = self._ailments()
        if ailments:
            return _response("503 Service Unavailable", "".join(f"{each}\n" for each in ailments))
        return _response("200 OK", "ok\n")


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
