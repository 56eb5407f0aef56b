"""The Kubernetes API as plain JSON over HTTP: a few calls, a list, a watch. For programs of the tests that play a part of it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2

Item = dict[str, Any]

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
_PAUSE_SECONDS = 0.2
_CONNECTIONS = 20
_HOPELESS = (httpx2.codes.BAD_REQUEST, httpx2.codes.UNPROCESSABLE_CONTENT)


class Rest:
    """One client of an API server."""

    def __init__(self, url: str, ca: Path, token: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            verify=ssl.create_default_context(cafile=str(ca)),
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(10, pool=None),
            limits=httpx2.Limits(max_connections=_CONNECTIONS),
        )
        self._under_way: set[asyncio.Task[httpx2.Response]] = set()

    async def close(self) -> None:
        """Let requests under way end, then close the connections."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()

    async def create(self, path: str, item: Item) -> None:
        """Create `item` under `path`; it may be there already. Raises httpx2.HTTPError."""
        answer = await self._send("POST", path, json=item)
        if answer.status_code != httpx2.codes.CONFLICT:
            answer.raise_for_status()

    async def patch(self, path: str, change: Item, kind: str = STRATEGIC_MERGE) -> bool:
        """Patch what is at `path`; False where it is gone. Raises httpx2.HTTPError."""
        return _found(await self._send("PATCH", path, json=change, headers={"Content-Type": kind}))

    async def delete(self, path: str, options: Item | None = None) -> bool:
        """Delete what is at `path`; False where it is gone. Raises httpx2.HTTPError."""
        return _found(await self._send("DELETE", path, json=options or {}))

    async def follow(self, path: str, selector: str) -> AsyncIterator[list[Item] | tuple[str, Item]]:
        """Everything that matches the field selector as a list, then each change as ``(type, item)``, for ever.

        The list comes again whenever the watch broke.
        """
        while True:
            try:
                listing = (await self._send("GET", path, params={"fieldSelector": selector})).raise_for_status().json()
                yield listing["items"]
                async for change in self._watch(path, selector, listing["metadata"]["resourceVersion"]):
                    yield change
            except (httpx2.HTTPError, ValueError):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """Send in a task of its own, which goes on where the caller is cancelled.

        httpcore does not close a connection that is cancelled in its TLS handshake.
        """
        sending = asyncio.create_task(self._client.request(method, path, **request))
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)
        return await asyncio.shield(sending)

    async def _watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Item]]:
        params = {"fieldSelector": selector, "watch": "true", "resourceVersion": version}
        async with self._client.stream("GET", path, params=params, timeout=httpx2.Timeout(10, read=None)) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    message = "the watch is too old"
                    raise ValueError(message)
                yield event["type"], event["object"]


def _found(answer: httpx2.Response) -> bool:
    if answer.status_code == httpx2.codes.NOT_FOUND:
        return False
    answer.raise_for_status()
    return True


async def insist(attempt: Callable[[], Awaitable[bool]]) -> bool:
    """Await `attempt()` again and again while the API server is away or in conflict; False where what it is about is gone.

    Raises httpx2.HTTPStatusError for what trying again does not cure.
    """
    while True:
        try:
            return await attempt()
        except httpx2.HTTPStatusError as error:
            if error.response.status_code in _HOPELESS:
                raise
        except httpx2.HTTPError:
            pass
        await asyncio.sleep(_PAUSE_SECONDS)
