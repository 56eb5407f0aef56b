"""Containers as Livepeer's runner has them, on loopback: what they answer is what a test says."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from stoker_orchestrator.domain.model import Url
from tests.support.workers import Behaviour


async def one_image(request: web.Request) -> web.StreamResponse:
    """What the runner answers to text-to-image."""
    return web.json_response({"images": [{"url": "data:image/png;base64,aGk=", "seed": 1, "nsfw": False}]})


async def well(_: web.Request) -> web.StreamResponse:
    """What the runner answers to those who ask for its health."""
    return web.json_response({"status": "OK"})


class FakeRunner:
    """A container with a base path; `token` bars its job routes, as AUTH_TOKEN does."""

    def __init__(self, behaviour: Behaviour = one_image, base: str = "", token: str = "") -> None:
        self.behaviour = behaviour
        self.health: Behaviour = well
        self.token = token
        self.jobs: list[dict[str, str]] = []
        self.looks: list[dict[str, str]] = []
        self.port = 0
        self._base = base
        self._scheme = "http"
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        return f"{self._scheme}://localhost:{self.port}{self._base}"

    def url(self, capacity: int = 1, key: str | None = None, token: str = "") -> Url:
        return Url(self.address, capacity, key, token)

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["FakeRunner"]:
        self._tls, self._scheme = tls, "https" if tls else "http"
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get(f"{self._base}/health", self._look)
        app.router.add_post(f"{self._base}/{{route}}", self._job)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End all connections, and take no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _look(self, request: web.Request) -> web.StreamResponse:
        self.looks.append(dict(request.headers))
        return await self.health(request)

    async def _job(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.jobs.append(dict(request.headers))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"detail": {"msg": "Invalid bearer token."}}, status=401)
        return await self.behaviour(request)


class Busy:
    """A job that lasts until it is let go, while nobody is told of the container's health: the runner's one thread is at work."""

    def __init__(self, runner: FakeRunner) -> None:
        self._done = asyncio.Event()
        self._runner = runner
        self.begun = asyncio.Event()
        runner.behaviour = self._work

    def let_go(self) -> None:
        self._done.set()

    async def _work(self, request: web.Request) -> web.StreamResponse:
        self._runner.health = self._silent
        self.begun.set()
        await self._done.wait()
        self._runner.health = well
        return await one_image(request)

    async def _silent(self, request: web.Request) -> web.StreamResponse:
        await self._done.wait()
        return await well(request)


def certificate(folder: Path, name: str = "localhost") -> Path:
    """One file with a key and a certificate for `name`, signed by itself."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", "key", "-out", "certificate"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return both


def serving(certificate: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
