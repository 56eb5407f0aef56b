"""Heads of requests that cannot be served, whatever they ask for."""

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.replies import bad_request
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.domain.admission import Refusal

HEAD_BYTES = 64 * 1024
_HEADERS = 128
_PIPELINED = 16
"""Requests that may wait behind the one that is served."""


def too_long() -> Refusal:
    """The head is larger than any that is meant."""
    words = f"the head of the request is longer than {HEAD_BYTES} bytes or has more than {_HEADERS} headers"
    return Refusal(431, ErrorType.INVALID_REQUEST, words, "head_too_large")


def judge(exchange: Exchange, waiting: int, *, upgrade: bool) -> Refusal | None:
    """Why a request cannot be served, which is then the last of its connection.

    `waiting` requests of the same connection come before it, `upgrade` tells whether it asks for another protocol.
    """
    headers = exchange.headers
    if len(headers) > _HEADERS:
        return too_long()
    if waiting >= _PIPELINED:
        return bad_request("too many requests at a time on one connection")
    if exchange.minor and b"host" not in headers:
        return bad_request("the header Host is missing")
    sized = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
    if upgrade and sized:
        return bad_request("connections are not upgraded here: send the body without the header Upgrade")
    return None
