"""HTTP to the workers: one pool of kept connections, bodies streamed both ways."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

Headers = list[tuple[bytes, bytes]]

_CONNECT_SECONDS = 5.0


class WorkerLostError(Exception):
    """The worker could not be reached, or went away before it had answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a worker's answer; the body follows as it comes."""

    status: int
    headers: Headers
    response: aiohttp.ClientResponse

    async def body(self) -> AsyncIterator[bytes]:
        """The body's chunks. Raises WorkerLostError when it breaks off."""
        try:
            async for chunk in self.response.content.iter_any():
                yield chunk
        except aiohttp.ClientError as error:
            message = "the worker went away in the middle of its answer"
            raise WorkerLostError(message) from error

    async def whole(self) -> bytes:
        """The body at once, for short ones."""
        return b"".join([chunk async for chunk in self.body()])


class Upstream:
    """The client side of the job path. No time limit: a video takes as long as it takes, and the caller may hang up."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=False,
        )

    @asynccontextmanager
    async def post(
        self, address: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | AsyncIterator[bytes]
    ) -> AsyncIterator[Answer]:
        """Send a job; leaving the context early closes the connection, which cancels the job. Raises WorkerLostError."""
        try:
            response = await self._session.post(
                f"http://{address}{path}", data=body, headers=headers, allow_redirects=False, skip_auto_headers=("User-Agent",)
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            message = "the worker could not be reached or went away before it answered"
            raise WorkerLostError(message) from error
        async with response:
            yield Answer(response.status, list(response.raw_headers), response)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
