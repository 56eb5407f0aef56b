"""Answers that the orchestrator gives itself, as raw ASGI messages."""

from collections.abc import Mapping

import orjson

from stoker_contracts.errors import ErrorType, error_body
from stoker_orchestrator.app.asgi import Send
from stoker_orchestrator.domain.admission import Refusal


async def send_json(send: Send, status: int, content: object, headers: Mapping[str, str]) -> None:
    """A whole JSON answer."""
    body = orjson.dumps(content)
    fields = {"content-type": "application/json", "content-length": str(len(body))} | dict(headers)
    head = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, refusal: Refusal, headers: Mapping[str, str]) -> None:
    """Why a job is not served, with when to try again where that helps."""
    retry = {"retry-after": str(refusal.retry_after)} if refusal.retry_after is not None else {}
    body = error_body(refusal.message, refusal.kind, refusal.code)
    await send_json(send, refusal.status, body, dict(headers) | retry)


def bad_request(message: str) -> Refusal:
    """A 400 with these words."""
    return Refusal(400, ErrorType.INVALID_REQUEST, message)


def not_found(message: str) -> Refusal:
    """A 404 with these words."""
    return Refusal(404, ErrorType.MODEL_NOT_FOUND, message)
