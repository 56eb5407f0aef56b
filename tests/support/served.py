"""A server on loopback whose answers a test gives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.body import BrokenBodyError, Budget
from stoker_orchestrator.app.replies import send_refusal
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.serving.server import Server
from stoker_orchestrator.app.serving.shared import Limits
from stoker_orchestrator.domain.admission import Refusal

Behaviour = Callable[[Exchange], Awaitable[None]]


class Handler:
    """Answers as a test says; remembers what was stopped from outside."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.stopped: list[Exception] = []

    def begin(self, exchange: Exchange) -> None:
        exchange.spawn(self._handle(exchange))

    async def _handle(self, exchange: Exchange) -> None:
        try:
            await self.behaviour(exchange)
        except BrokenBodyError as error:
            self._stopped(exchange, error)
        except asyncio.CancelledError as cancellation:
            self._stopped(exchange, exchange.ended_by(cancellation))

    def _stopped(self, exchange: Exchange, error: Exception) -> None:
        self.stopped.append(error)
        if not exchange.started:
            self.refuse(exchange, Refusal(408, ErrorType.INVALID_REQUEST, "stopped"))

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        send_refusal(exchange, refusal, [])


class Served:
    """A server of one handler."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.handler = handler
        self.budget = Budget(2**28)
        self.server = Server(handler, limits, self.budget)
        self.url = ""

    @property
    def connections(self) -> int:
        return len(self.server._shared.members)


@asynccontextmanager
async def serving(behaviour: Behaviour, limits: Limits | None = None) -> AsyncIterator[Served]:
    served = Served(Handler(behaviour), limits or Limits())
    served.url = f"http://127.0.0.1:{await served.server.listen('127.0.0.1', 0)}"
    try:
        yield served
    finally:
        for member in list(served.server._shared.members):
            member.abort()
        await served.server.close()


async def echo(exchange: Exchange) -> None:
    """The target, and the length of the body."""
    exchange.proceed()
    await exchange.body.finished()
    answer = b"%b %d" % (exchange.target, exchange.body.size)
    exchange.start(200, [(b"content-length", b"%d" % len(answer))])
    exchange.finish(answer)


async def never(_: Exchange) -> None:
    await asyncio.Event().wait()


def saying(*parts: bytes, sized: bool = True) -> Behaviour:
    """An answer of `parts`, one write each."""

    async def behaviour(exchange: Exchange) -> None:
        exchange.start(200, [(b"content-length", b"%d" % sum(map(len, parts)))] if sized else [])
        for part in parts:
            exchange.write(part)
            await asyncio.sleep(0)
        exchange.finish()

    return behaviour
