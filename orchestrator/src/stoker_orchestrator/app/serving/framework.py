"""An ASGI application behind an exchange: as much of ASGI as the control API's framework needs."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stoker_orchestrator.app.body import MEMORY_BYTES, BodyTooLargeError
from stoker_orchestrator.app.replies import Headers
from stoker_orchestrator.app.serving.exchange import Exchange

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def serve_by(app: App, exchange: Exchange, more: Headers) -> None:
    """Let `app` answer, with `more` headers. Bodies are read whole. Raises what the body raises, and BodyTooLargeError."""
    exchange.proceed()
    await exchange.body.finished()
    body = exchange.body.in_memory()
    if body is None:
        raise BodyTooLargeError(MEMORY_BYTES)
    await app(_scope(exchange), _receiving(body), _sending(exchange, more))


def _scope(exchange: Exchange) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": f"1.{exchange.minor}",
        "method": exchange.method.decode(),
        "scheme": "http",
        "path": exchange.path,
        "raw_path": exchange.target.partition(b"?")[0],
        "query_string": exchange.query,
        "root_path": "",
        "headers": list(exchange.headers.items()),
        "client": (exchange.peer, 0),
        "server": None,
    }


def _receiving(body: bytes) -> Receive:
    """The body, then nothing: who serves a caller that hangs up is cancelled."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    return receive


def _sending(exchange: Exchange, more: Headers) -> Send:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.start(message["status"], [*message.get("headers", []), *more])
        elif message.get("more_body", False):
            if not exchange.write(message.get("body", b"")):
                await _caught_up(exchange)
        else:
            exchange.finish(message.get("body", b""))

    return send


async def _caught_up(exchange: Exchange) -> None:
    caught_up = asyncio.Event()
    exchange.when_writable(caught_up.set)
    await caught_up.wait()
