"""The server: listens, looks after its connections, and stops without breaking an answer off."""

import asyncio
import contextlib

from stoker_orchestrator.app.body import Budget
from stoker_orchestrator.app.serving.connection import CallerConnection
from stoker_orchestrator.app.serving.shared import Handler, Limits, Shared

_BACKLOG = 2048
_SWEEP_SECONDS = 1.0
_GRACE_SECONDS = 5.0
"""How long last answers may take to reach their callers."""


class Server:
    """One listening socket. Limits are looked at once a second, or four times within the shortest of them."""

    def __init__(self, handler: Handler, limits: Limits, budget: Budget) -> None:
        self._shared = Shared(handler, limits, budget)
        self._shared.tell_time()
        self._listener: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._shared.stopping

    async def listen(self, host: str, port: int) -> int:
        """Begin to serve; returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: CallerConnection(self._shared), host, port, backlog=_BACKLOG)
        self._sweeping = asyncio.create_task(self._sweep())
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    def wind_down(self) -> None:
        """Tell callers with each answer that the connection ends; they find their way to another orchestrator."""
        self._shared.stopping = True
        for member in self._shared.members:
            member.wind_down()

    @property
    def expects(self) -> bool:
        """Whether a caller may be about to use its connection again: closed under a request, it would take that with it."""
        now = asyncio.get_running_loop().time()
        return any(member.expects(now) for member in self._shared.members)

    async def close(self) -> None:
        """Take nothing new, let the answers under way reach their callers for a moment, close."""
        self.wind_down()
        if self._listener is not None:
            self._listener.close()
        for member in list(self._shared.members):
            member.hang_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                while self._shared.members:  # noqa: ASYNC110 - connections come and go thousands of times a second, this ends once
                    await asyncio.sleep(0.01)
        for member in list(self._shared.members):
            member.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _sweep(self) -> None:
        limits = self._shared.limits
        pause = min(_SWEEP_SECONDS, limits.head / 4, limits.idle / 4, limits.stall / 4)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause)
            self._shared.tell_time()
            now = loop.time()
            for member in list(self._shared.members):
                member.sweep(now)
