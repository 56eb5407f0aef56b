"""One kept connection between two orchestrators: messages as lines, and a heartbeat that tells a dead one from a quiet one."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from stoker_orchestrator.app.peers.messages import Beat, Message, decode, encode

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
SILENT_SECONDS = 3.0
"""A connection on which nothing came for so long is dead."""
_LONGEST = 8 * 2**20
"""Bytes of one message."""


class Wire(asyncio.Protocol):
    """Sends messages, and gives those that come to `hear`. `ended` is set once, when nothing can come any more."""

    def __init__(self, begun: "Callable[[Wire], None] | None" = None) -> None:
        self.hear: Callable[[Message], None] = lambda _: None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begun = begun
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._unsent: list[bytes] = []
        self._heard_at = self._beat_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: Message) -> None:
        """Say something; what is said in one turn of the event loop goes together."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(encode(message))

    def close(self) -> None:
        """Say what was to be said, then hang up."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._heard_at = self._loop.time()
        self._beat()
        if self._begun is not None:
            self._begun(self)

    def data_received(self, data: bytes) -> None:
        """Hear whole lines. Who speaks another language is hung up on."""
        self._heard_at = self._loop.time()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            for line in lines:
                message = decode(line)
                if message is not None and not isinstance(message, Beat):
                    self.hear(message)
        except ValueError as error:
            log.warning("a peer is hung up on, it speaks another language: %s", error)
            self.abort()
        if len(self._buffer) > _LONGEST:
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def _flush(self) -> None:
        if self._unsent and self.open:
            assert self._transport is not None  # noqa: S101 - it is open
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _beat(self) -> None:
        now = self._loop.time()
        if now - self._beat_at > 2 * BEAT_SECONDS:
            self._heard_at = now  # this process stood still: what came meanwhile has not been read yet
        self._beat_at = now
        if now - self._heard_at > SILENT_SECONDS:
            log.warning("a peer has said nothing for %g s", SILENT_SECONDS)
            self.abort()
            return
        self.send(Beat())
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)
