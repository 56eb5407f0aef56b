"""What workers say of themselves: each is asked once when it becomes ready, so that gateways can be told."""

import asyncio
from collections.abc import Awaitable, Callable

from stoker_orchestrator.domain.model import Endpoint, EndpointState
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.runner import Runner

_AT_A_TIME = 16
"""An orchestrator that starts finds all workers ready at once."""
_AGAIN_SECONDS, _MOST_SECONDS = 1.0, 60.0
"""The first pause before a worker that could not be asked is asked again, and the longest: each is twice the one before."""


class Introductions:
    """`ask` gives None where the worker could not be asked; `told` is called when it has answered."""

    def __init__(self, registry: Registry, ask: Callable[[Endpoint], Awaitable[Runner | None]], told: Callable[[], None]) -> None:
        self._registry = registry
        self._ask = ask
        self._told = told
        self._room = asyncio.Semaphore(_AT_A_TIME)
        self._asking: dict[str, asyncio.Task[None]] = {}

    def seen(self, identity: str) -> None:
        """The fleet has told of an endpoint."""
        if identity not in self._asking and self._unknown(identity) is not None:
            self._asking[identity] = asyncio.create_task(self._introduce(identity))

    def _unknown(self, identity: str) -> Endpoint | None:
        """The endpoint of this id that is to be asked, if there is one."""
        endpoint = self._registry.endpoint(identity)
        return endpoint if endpoint is not None and endpoint.state is EndpointState.READY and endpoint.runner is None else None

    async def _introduce(self, identity: str) -> None:
        pause = _AGAIN_SECONDS
        try:
            while (endpoint := self._unknown(identity)) is not None:
                since = endpoint.since
                async with self._room:
                    runner = await self._ask(endpoint)
                if runner is None:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _MOST_SECONDS)
                elif endpoint.since == since:  # or it may have been another program at the same address
                    endpoint.runner = runner
                    self._told()
        finally:
            del self._asking[identity]
