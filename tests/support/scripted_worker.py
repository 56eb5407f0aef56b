"""A worker for clients in process, whose answers a test gives."""

from collections.abc import Callable
from typing import Any

import httpx2

from stoker_worker.bench.over_http import Server

VERSION = {"pipeline": "text-to-image", "model_id": "org/model", "version": "0.1.0"}
DONE = {"images": [{"url": "data:image/png;base64,AAAA", "seed": 1}]}


class Scripted:
    """A worker that answers jobs by their number, and remembers what it was sent."""

    def __init__(self, *answers: Callable[[], httpx2.Response], health: tuple[str, ...] = ("IDLE",), hardware: Any = None) -> None:
        self._answers = answers
        self._service = {"/version": VERSION, "/hardware/info": hardware}
        self._health = list(health)
        self.jobs: list[httpx2.Request] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/health":
            return httpx2.Response(200, json={"status": self._health.pop(0) if len(self._health) > 1 else self._health[0]})
        if request.method == "GET":
            content = self._service.get(request.url.path)
            return httpx2.Response(404, json={}) if content is None else httpx2.Response(200, json=content)
        self.jobs.append(request)
        return self._answers[(len(self.jobs) - 1) % len(self._answers)]()

    @property
    def server(self) -> Server:
        return Server("http://worker", transport=httpx2.MockTransport(self))


def saying(content: Any = None, status: int = 200, **headers: str) -> Callable[[], httpx2.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: httpx2.Response(status, json=content or DONE, headers=named)


def raising(error: Exception) -> Callable[[], httpx2.Response]:
    def fail() -> httpx2.Response:
        raise error

    return fail
