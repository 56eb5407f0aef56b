"""uvicorn's HTTP protocol with the small writes of one moment put together.

An ASGI server writes the head of an answer and its body one after the other. For a short answer that is two system calls, two
packets, and a caller who is woken twice.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_AT_ONCE_BYTES = 16 * 1024
"""A write of this size is not worth copying."""


class GatheringTransport:
    """Stands before a transport; small writes wait for the end of the event loop's turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write `data` behind what was written before, soon."""
        if len(data) >= _AT_ONCE_BYTES:
            self._flush()
            self._transport.write(data)
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Write what is waiting, then close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Asked after each answer, so not worth the way round."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GatheringProtocol(HttpToolsProtocol):
    """For uvicorn's setting `http`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the gathering transport between uvicorn and the connection."""
        super().connection_made(cast("asyncio.Transport", GatheringTransport(transport)))
