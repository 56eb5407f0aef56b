"""Headers that make no sense."""

import random

from tools.fuzz.case import Value, rarely

_ACCEPT = (
    "*/*", "image/png", "image/jpeg;q=0.5", "image/webp", "video/mp4", "application/json", "text/html", "image/*;q=nan", ";;;,,,",
    "a/b;q=9", "image/png;q=0", "," * 2000, "é", "text/event-stream",
)  # fmt: skip
_NAMES = (
    "Stoker-Output-Format", "Stoker-Timeout", "Stoker-Request-Id", "Authorization", "Content-Encoding", "X", "Accept-Encoding",
)  # fmt: skip
_VALUES = (b"mp4", b"-1", b"nan", b"1e999", b"gzip", b"Bearer \xff", b"x" * 20_000, b"\xe9\xff", b"", b"5")


def odd(chance: random.Random) -> dict[str, Value]:
    """Some of them, mostly none."""
    headers: dict[str, Value] = {}
    if rarely(chance):
        headers["Accept"] = chance.choice(_ACCEPT)
    if rarely(chance):
        headers[chance.choice(_NAMES)] = chance.choice(_VALUES)
    return headers
