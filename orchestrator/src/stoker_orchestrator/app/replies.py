"""Answers that the orchestrator gives itself, and what answers go to."""

from collections.abc import Callable, Sequence
from typing import Protocol

import orjson

from stoker_contracts.errors import ErrorType, error_body
from stoker_orchestrator.domain.admission import Refusal

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""


class Reply(Protocol):
    """Where the answer to one request goes. Nothing is sent before there is something behind the head."""

    @property
    def started(self) -> bool:
        """Whether the head was given: then no other can be."""

    @property
    def writable(self) -> bool:
        """Whether the caller keeps up; what is written nevertheless is kept in memory."""

    def start(self, status: int, headers: Headers) -> None:
        """The head."""

    def write(self, data: bytes) -> bool:
        """Some of the body; whether the caller keeps up."""

    def finish(self, data: bytes = b"") -> None:
        """The last of the body."""

    def when_writable(self, act: Callable[[], None]) -> None:
        """Call `act` once when the caller has caught up."""


def send_refusal(reply: Reply, refusal: Refusal, headers: Headers) -> None:
    """Why a request is not served, with when to try again where that helps."""
    body = orjson.dumps(error_body(refusal.message, refusal.kind, refusal.code))
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    if refusal.retry_after is not None:
        head.append((b"retry-after", b"%d" % refusal.retry_after))
    if refusal.kind is ErrorType.METHOD_NOT_ALLOWED:
        head.append((b"allow", b"POST"))
    reply.start(refusal.status, head)
    reply.finish(body)


def bad_request(message: str) -> Refusal:
    """A 400 with these words."""
    return Refusal(400, ErrorType.INVALID_REQUEST, message)


def not_found(message: str) -> Refusal:
    """A 404 with these words."""
    return Refusal(404, ErrorType.MODEL_NOT_FOUND, message)
