"""A TCP way to a server on loopback that a test can cut, break off and freeze."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 2**16


class Line:
    """Listens on a port of its own and passes bytes on to `port`, until the test decides otherwise."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._calls: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._silent = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        calls = set(self._calls)
        self.cut()
        await asyncio.gather(*calls, return_exceptions=True)

    def cut(self) -> None:
        """Nobody gets through, and everybody is told at once."""
        assert self._server is not None
        self._server.close()
        self.break_off()

    async def mend(self) -> None:
        """After `cut`: listen again on the same port."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def break_off(self) -> None:
        """End the connections that there are; new ones get through."""
        for call in self._calls:
            call.cancel()

    def freeze(self) -> None:
        """The connections that there are pass nothing any more, and nobody is told; new ones get through."""
        self._silent.set()
        self._silent = asyncio.Event()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.create_task(self._pass_on(reader, writer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end."""
        silent = self._silent
        with suppress(OSError):
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                try:
                    await asyncio.gather(_pump(reader, back, silent), _pump(there, writer, silent))
                finally:
                    await _aborted(back)
            finally:
                await _aborted(writer)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, silent: asyncio.Event) -> None:
    while chunk := await source.read(_CHUNK):
        if silent.is_set():
            await asyncio.Event().wait()
        sink.write(chunk)
        await sink.drain()
    sink.transport.abort()


async def _aborted(writer: asyncio.StreamWriter) -> None:
    """Close without a goodbye, and wait until it is so."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
