"""A caller who says the very bytes of a test."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error body, which must satisfy both worlds."""
        assert self.json["detail"]["msg"] == self.json["error"]["message"]
        return str(self.json["error"]["code"])


class Caller:
    """One connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname, place.port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()

    def say(self, data: bytes) -> None:
        """Send `data`, now or as soon as it is taken."""
        self.writer.write(data)

    async def answer(self, *, head_only: bool = False) -> RawAnswer:
        """The next answer, however its end is marked. `head_only`: it is to a HEAD."""
        lines = (await self.reader.readuntil(HEAD_END))[: -len(HEAD_END)].decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        body = b"" if head_only else await self._body(headers)
        return RawAnswer(int(lines[0].split()[1]), headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def hung_up_on(self, seconds: float = 10) -> bool:
        """Whether the other side closes, with nothing more to say."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


def request(path: str = "/text-to-image", *more: str, body: bytes = b"", length: int | None = None, method: str = "POST") -> bytes:
    """A request with a Content-Length, its own or another one; `more` are header lines."""
    lines = [f"{method} {path} HTTP/1.1", "Host: o", f"Content-Length: {len(body) if length is None else length}", *more]
    return "\r\n".join(lines).encode() + HEAD_END + body
