"""One thing that a stranger may send, as it goes over the wire."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

Value = bytes | str


@dataclass(frozen=True, slots=True)
class Case:
    """`wire` is sent on a connection. `kind` names the sort in the report.

    `whole` tells that it is one request of HTTP, which must be answered; what is not whole may be answered or cut off.
    `good` tells that the answer must be 200.
    """

    kind: str
    wire: bytes
    whole: bool = True
    good: bool = False


def request(route: str, body: bytes, headers: Mapping[str, Value], method: str = "POST") -> bytes:
    """A request whose length is declared as it is."""
    said: dict[str, Value] = {"Host": "worker", "Content-Length": str(len(body)), **headers}
    lines = [b"%b: %b\r\n" % (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in said.items()]
    return b"".join([f"{method} {route} HTTP/1.1\r\n".encode(), *lines, b"\r\n", body])


def noise(chance: random.Random, most: int) -> bytes:
    """Up to `most` bytes of anything."""
    return chance.randbytes(chance.randint(0, most))


def rarely(chance: random.Random) -> bool:
    """True for one in five."""
    return chance.randrange(5) == 0


def damaged(data: bytes, chance: random.Random) -> bytes:
    """`data` with a few places overwritten, cut out or doubled, or its end cut off."""
    copy = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(copy) + 1)
        length = chance.choice((1, 1, 2, 4, 8, 64))
        match chance.randrange(5):
            case 0:
                copy[place : place + length] = chance.randbytes(length)
            case 1:
                del copy[place : place + length]
            case 2:
                copy[place:place] = copy[place : place + length]
            case 3:
                copy[place : place + length] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
            case _:
                if rarely(chance):
                    del copy[place:]
    return bytes(copy)
