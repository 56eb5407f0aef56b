"""Questions to workers and containers beside their jobs: each on a connection of its own, and what strangers say is bounded."""

import ssl

import aiohttp


def session(trust: ssl.SSLContext | None, seconds: float) -> aiohttp.ClientSession:
    """For questions that may take so long. `trust` is who is believed behind ``https``; None: the system's authorities."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=seconds),
        connector=aiohttp.TCPConnector(ssl=trust or True, force_close=True, limit=0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def shown(authorization: bytes | None) -> dict[str, str]:
    """The header that proves who asks, where one is asked for."""
    return {"Authorization": authorization.decode()} if authorization is not None else {}


async def beginning(content: aiohttp.StreamReader, most: int) -> bytes:
    """As many bytes of an answer as anybody need read."""
    read = b""
    while len(read) < most and (part := await content.read(most - len(read))):
        read += part
    return read
