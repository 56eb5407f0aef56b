"""Workers that say the very bytes of a test, and the job path's client to ask them with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from stoker_orchestrator.adapters.upstream import Upstream

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A worker made of bytes. `accepted` counts connections, `heads` and `bodies` remember what came."""

    def __init__(self, script: Script | None = None) -> None:
        self.accepted = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.script = script or self.polite
        self.address = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def polite(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self.request(reader)
            writer.write(OK)

    async def request(self, reader: asyncio.StreamReader) -> None:
        """Take in one request with a Content-Length or in chunks."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if b"transfer-encoding: chunked" in head:
            body = await reader.readuntil(b"0\r\n\r\n")
        else:
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        self.bodies.append(body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.writers.append(writer)
        try:
            await self.script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        try:
            yield self
        finally:
            server.close()
            for writer in self.writers:
                writer.close()


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    try:
        yield made
    finally:
        made.close()


async def ask(client: Upstream, server: Server, body: bytes = b"{}") -> bytes:
    answer = await client.post(server.address, "/text-to-image", b"content-type: application/json\r\n", body)
    try:
        return await answer.everything()
    finally:
        client.release(answer)


def saying(*parts: bytes) -> Script:
    """A server that answers one request with `parts`, then closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return script
