"""Asking a worker whether it lives and what it is, apart from its jobs: own connections, and little time for the answer."""

import ssl
from collections.abc import Callable

import aiohttp
from pydantic import ValidationError

from stoker_contracts.worker import Readiness
from stoker_orchestrator.adapters.asking import beginning, session, shown
from stoker_orchestrator.domain.health import OF_A_GATEWAY
from stoker_orchestrator.domain.model import Endpoint
from stoker_orchestrator.domain.outliers import PROBE_SECONDS, Pulse
from stoker_orchestrator.domain.runner import Runner, read_runner

_READY_BYTES, _MOST_BYTES = 4096, 64 * 1024
_OK = 200


def _nothing(_: str) -> bytes | None:
    """No endpoint wants to know who asks."""
    return None


class Prober:
    """Asks ``/ready``; any answer is a sign of life but a proxy's own, for a worker that drains or loads lives as well.

    `trust` is who is believed behind ``https``. `authorization` gives the value of that header for an endpoint, by its id, where it
    is asked what it is and wants to know by whom.
    """

    def __init__(self, trust: ssl.SSLContext | None = None, authorization: Callable[[str], bytes | None] = _nothing) -> None:
        self._trust = trust
        self._authorization = authorization
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, address: str) -> Pulse:
        """Ask the worker at `address`."""
        try:
            async with self._opened().get(f"{_base(address)}/ready", allow_redirects=False) as answer:
                body = await beginning(answer.content, _READY_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Pulse(alive=False)
        try:
            told = Readiness.model_validate_json(body)
        except ValidationError:
            return Pulse(alive=answer.status not in OF_A_GATEWAY)
        return Pulse(alive=True, ready=told.ready, steps=told.steps)

    async def introduce(self, endpoint: Endpoint) -> Runner | None:
        """What a worker says of itself, as far as it does; None where it could not be asked."""
        try:
            version, hardware = await self._told(endpoint, "version"), await self._told(endpoint, "hardware/info")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        return read_runner(version, hardware)

    async def _told(self, endpoint: Endpoint, path: str) -> bytes:
        url, headers = f"{_base(endpoint.address)}/{path}", shown(self._authorization(endpoint.id))
        async with self._opened().get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status in OF_A_GATEWAY:
                answer.raise_for_status()
            return await beginning(answer.content, _MOST_BYTES) if answer.status == _OK else b""

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = session(self._trust, PROBE_SECONDS)
        return self._session


def _base(address: str) -> str:
    return (address if "://" in address else f"http://{address}").rstrip("/")
