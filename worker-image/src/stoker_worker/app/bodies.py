"""Bodies of strangers: read within bounds of bytes and time, and kept in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

SLOWEST = 10
"""A body may take so many times as long as it may stall."""
_FORM = "multipart/form-data"


class BadRequestError(Exception):
    """The request is refused with a 400 and these words. With `close`, nothing more is read from its connection."""

    def __init__(self, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.close = close


def within(request: Request, limit: int, stall: float) -> Request:
    """The same request; reading it raises BadRequestError past `limit` bytes, and when no part comes for `stall` seconds.

    A body whose declared length is past the limit is refused before it is read.
    """
    message = f"the body is larger than {limit} bytes"
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BadRequestError(message)
    ends = asyncio.get_running_loop().time() + SLOWEST * stall
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        part = await _before_it_stalls(request, stall, ends)
        taken += len(part.get("body", b""))
        if taken > limit:
            raise BadRequestError(message)
        return part

    return Request(request.scope, receive)


async def _before_it_stalls(request: Request, stall: float, ends: float) -> Message:
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(min(now + stall, ends)):
            return await request.receive()
    except TimeoutError:
        message = f"the body stopped coming: no byte for {stall:g} s, or not whole after {SLOWEST * stall:g} s"
        raise BadRequestError(message, close=True) from None


async def whole(request: Request) -> bytes:
    """The body. Raises BadRequestError."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
    except ClientDisconnect:
        message = "the request was not finished"
        raise BadRequestError(message) from None
    return bytes(body)


@asynccontextmanager
async def form(request: Request, most_fields: int, most_bytes: int) -> AsyncIterator[FormData]:
    """The parts of a multipart body: at most one file, `most_fields` fields of `most_bytes` each. Raises BadRequestError.

    A file stays in memory: the worker's file system is read-only, and the body is bounded.
    """
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=most_fields, max_part_size=most_bytes)
    parser.spool_max_size = 0
    try:
        parts = await parser.parse()
    except BadRequestError:
        raise
    except (MultiPartException, ClientDisconnect, LookupError, ValueError):
        message = f"the body must be {_FORM} with one file, image, and at most {most_fields} fields of at most {most_bytes} bytes"
        raise BadRequestError(message) from None
    try:
        yield parts
    finally:
        await parts.close()
