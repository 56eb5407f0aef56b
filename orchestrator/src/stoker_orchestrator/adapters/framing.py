"""Bodies whose length is known, past the parser: it would copy every byte only to count it."""

from collections.abc import Mapping

_LARGE = 64 * 1024
"""Where so much is still to come it pays."""


def declared_length(headers: Mapping[bytes, bytes]) -> int | None:
    """How long a body is, as its head says; None where it is chunked or does not say."""
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() and b"transfer-encoding" not in headers else None


def large_rest(headers: Mapping[bytes, bytes], taken: int) -> int:
    """How many bytes are still to come after `taken`; 0 where they are few or nobody knows."""
    left = (declared_length(headers) or 0) - taken
    return left if left >= _LARGE else 0


def split(data: bytes, left: int) -> tuple[bytes, bytes]:
    """What belongs to a body of which `left` bytes are to come, and what comes behind it."""
    return (data, b"") if len(data) <= left else (data[:left], data[left:])
