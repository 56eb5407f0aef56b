"""What breaks the rules of HTTP, or ends before it is whole."""

import random
from collections.abc import Callable

from tools.fuzz.case import damaged, noise


def wire(route: str, sane: bytes, chance: random.Random) -> bytes:
    """Any of them, for a route; `sane` is a request that is not so."""
    return chance.choice(_MAKERS)(route, sane, chance)


def _other_length(_route: str, sane: bytes, chance: random.Random) -> bytes:
    name = b"Content-Length: "
    return sane.replace(name, chance.choice((name + b"-", name + b"9", name + b"x", b"Nothing: ", name + b"3\r\n" + name)))


def _chunked(route: str, sane: bytes, chance: random.Random) -> bytes:
    chunks = chance.choice((b"zz\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"5\r\nab", b"1;" + b"x" * 99_999))
    both = sane.replace(b"Host: worker", b"Host: worker\r\nTransfer-Encoding: chunked")
    return chance.choice((both, f"POST {route} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks))


def _endless_head(route: str, _sane: bytes, chance: random.Random) -> bytes:
    lines = chance.choice((b"A: " + b"x" * chance.choice((10, 70_000, 300_000)), b"A: b\r\n" * 20_000 + b"\r\n"))
    return f"POST {route} HTTP/1.1\r\n".encode() + lines


def _odd_line(route: str, _sane: bytes, chance: random.Random) -> bytes:
    line = chance.choice(
        (
            f"POST {route} HTTP/{chance.choice(('0.9', '1.0', '2.0', '9', 'x'))}",
            f"POST /{'%ff' * chance.choice((1, 3000))} HTTP/1.1\r\nHost: x\r\nConnection: close",
            f"GET {route} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade",
            f"CONNECT {route} HTTP/1.1",
            "PRI * HTTP/2.0",
        )
    )
    return line.encode() + b"\r\n\r\n"


def _other_protocol(_route: str, _sane: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n", b"")) + noise(chance, 2000)


def _unfinished(_route: str, sane: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"", sane)) + sane[: chance.randrange(len(sane))]


def _damaged_head(_route: str, sane: bytes, chance: random.Random) -> bytes:
    return damaged(sane[:200], chance) + sane[200:]


def _wants_to_be_asked(_route: str, sane: bytes, _chance: random.Random) -> bytes:
    return sane.replace(b"Host: worker", b"Expect: 100-continue")


_MAKERS: tuple[Callable[[str, bytes, random.Random], bytes], ...] = (
    _other_length,
    _chunked,
    _endless_head,
    _odd_line,
    _other_protocol,
    _unfinished,
    _damaged_head,
    _wants_to_be_asked,
)
