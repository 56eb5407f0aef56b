"""Asking a worker whether it lives, apart from its jobs: a connection of its own, and little time for the answer."""

import ssl

import aiohttp
from pydantic import ValidationError

from stoker_contracts.worker import Readiness
from stoker_orchestrator.domain.health import OF_A_GATEWAY
from stoker_orchestrator.domain.outliers import PROBE_SECONDS, Pulse


class Prober:
    """Asks ``/ready``; any answer is a sign of life but a proxy's own, for a worker that drains or loads lives as well.

    `trust` is who is believed behind ``https``.
    """

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, address: str) -> Pulse:
        """Ask the worker at `address`."""
        base = address if "://" in address else f"http://{address}"
        try:
            async with self._opened().get(f"{base.rstrip('/')}/ready", allow_redirects=False) as answer:
                body = await answer.content.read(4096)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Pulse(alive=False)
        try:
            told = Readiness.model_validate_json(body)
        except ValidationError:
            return Pulse(alive=answer.status not in OF_A_GATEWAY)
        return Pulse(alive=True, ready=told.ready, steps=told.steps)

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
            connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=self._trust or True)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self._session
