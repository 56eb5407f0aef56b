"""Answers that the orchestrator gives itself, as raw ASGI messages."""

from collections.abc import Sequence

import orjson

from stoker_contracts.errors import ErrorType, error_body
from stoker_orchestrator.app.asgi import Send
from stoker_orchestrator.domain.admission import Refusal

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""


async def send_json(send: Send, status: int, content: object, headers: Headers) -> None:
    """A whole JSON answer."""
    body = orjson.dumps(content)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, refusal: Refusal, headers: Headers) -> None:
    """Why a job is not served, with when to try again where that helps."""
    retry = [(b"retry-after", b"%d" % refusal.retry_after)] if refusal.retry_after is not None else []
    body = error_body(refusal.message, refusal.kind, refusal.code)
    await send_json(send, refusal.status, body, [*headers, *retry])


def bad_request(message: str) -> Refusal:
    """A 400 with these words."""
    return Refusal(400, ErrorType.INVALID_REQUEST, message)


def not_found(message: str) -> Refusal:
    """A 404 with these words."""
    return Refusal(404, ErrorType.MODEL_NOT_FOUND, message)
