"""Callers by the thousand: more jobs than the workers can do, and connections that never finish a request."""

import asyncio
import contextlib
import json
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from e2e.release import Release
from e2e.scenarios.resources import JOB

_HEAD = b"POST /text-to-image HTTP/1.1\r\nhost: stoker\r\ncontent-type: application/json\r\n"
_HALF_A_HEAD = _HEAD[:-10]
_HALF_A_BODY = _HEAD + b"content-length: 1000\r\n\r\n" + b'{"prompt": "a red'
_PATIENCE_SECONDS = 60
_CONNECTING = 100
"""Connections that are made at a time; more would overrun what a listener keeps waiting."""


@dataclass(frozen=True, slots=True)
class Told:
    """How one job ended: its status, and whether a refusal says when to come again."""

    status: int
    retry_after: bool


async def overload(release: Release, model_id: str, rate: float, seconds: float) -> list[Told]:
    """Send `rate` jobs a second for so many seconds, whatever becomes of them."""
    limits, timeout = httpx2.Limits(max_connections=None), httpx2.Timeout(_PATIENCE_SECONDS)
    async with httpx2.AsyncClient(base_url=release.url, limits=limits, timeout=timeout) as client, asyncio.TaskGroup() as group:
        began, jobs = time.monotonic(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            jobs.append(group.create_task(_job(client, model_id)))
    return [job.result() for job in jobs]


async def _job(client: httpx2.AsyncClient, model_id: str) -> Told:
    answer = await client.post("/text-to-image", json=JOB | {"model_id": model_id})
    return Told(answer.status_code, "Retry-After" in answer.headers)


async def slow_connections(release: Release, count: int, seconds: float) -> Counter[str]:
    """Open connections that send half a head or half a body, and wait; how they ended within so many seconds."""
    url = httpx2.URL(release.url)
    turnstile = asyncio.Semaphore(_CONNECTING)
    halves = [(_HALF_A_HEAD, _HALF_A_BODY)[number % 2] for number in range(count)]
    endings = [_slow(url.host, url.port or 80, half, turnstile, seconds) for half in halves]
    return Counter(await asyncio.gather(*endings))


async def _slow(host: str, port: int, half: bytes, turnstile: asyncio.Semaphore, seconds: float) -> str:
    async with turnstile:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(half)
        await writer.drain()
    try:
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                await reader.read()
    except TimeoutError:
        return "open"
    finally:
        writer.close()
    return "closed"


def send_large(release: Release, size: int, *, chunked: bool) -> int:
    """Send a body of so many bytes until an answer comes; returns its status."""
    url = httpx2.URL(release.url)
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % size
    with socket.create_connection((url.host, url.port or 80), timeout=_PATIENCE_SECONDS) as line:
        line.sendall(_HEAD + framing + b"\r\n\r\n")
        for part in _large_body(size, chunked=chunked):
            if select.select([line], [], [], 0)[0]:
                break
            line.sendall(part)
        return int(line.recv(4096).split()[1])


def _large_body(size: int, *, chunked: bool) -> Iterator[bytes]:
    part = json.dumps({"prompt": "x" * (64 * 1024)}).encode()
    for _ in range(size // len(part)):
        yield b"%x\r\n%b\r\n" % (len(part), part) if chunked else part
