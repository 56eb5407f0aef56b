"""What orchestrators say to each other: one JSON list a line, the kind first.

Fields are only ever added, at the end and with a default: a program reads what it knows and leaves the rest, so that the programs
of two releases understand each other while one replaces the other. `number` is the follower's own name for one of its jobs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import orjson

LANGUAGE = 1
"""Grows when an older program would misunderstand."""


class Hello(NamedTuple):
    """A follower's first words. It shows the token of the holder that it looks for."""

    language: int
    holder: str
    token: str
    identity: str


class Welcome(NamedTuple):
    """The leader takes the follower's jobs."""


class Unwelcome(NamedTuple):
    """The process at this address does not: it has another identity, or does not lead, or the hello was wrong."""

    identity: str
    reason: str


class Held(NamedTuple):
    """The slots that a follower's jobs have: (number, endpoint's id, model, cost) each, and how many seconds ago it was given."""

    slots: list[tuple[int, str, str, float]]
    ages: Sequence[float] = ()


class Settled(NamedTuple):
    """All of the follower's jobs that run or wait have been told."""


class Asked(NamedTuple):
    """A follower's job asks for a slot, as `Ask` has it."""

    number: int
    model: str
    cost: float
    caller: str
    patience: float | None
    waited: float
    excluded: list[str]


class Left(NamedTuple):
    """The job is gone, whether it has a slot by now or not."""

    number: int


class Given(NamedTuple):
    """The job has a slot, after so many seconds in which its model had no worker."""

    number: int
    endpoint: str
    address: str
    cold: float


class Denied(NamedTuple):
    """The job is not served, as `Refusal` has it."""

    number: int
    status: int
    kind: str
    message: str
    code: str | None
    retry_after: int | None


class Returned(NamedTuple):
    """The job's slot is free; `outcome` is an `Outcome`'s name."""

    number: int
    outcome: str


class GiveUp(NamedTuple):
    """The job's worker was given up."""

    number: int


class Loaded(NamedTuple):
    """How busy everything is, as `Load` has it, and which followers the leader has."""

    load: dict[str, Any]
    peers: list[str]


class Succeeded(NamedTuple):
    """The follower holds the Lease now, and is to be followed."""

    identity: str
    address: str
    token: str


class Goodbye(NamedTuple):
    """The leader gives up the lead."""


class Beat(NamedTuple):
    """Still here."""


FromFollower = Hello | Held | Settled | Asked | Left | Returned | Succeeded
FromLeader = Welcome | Unwelcome | Given | Denied | GiveUp | Loaded | Goodbye
Message = FromFollower | FromLeader | Beat
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """The message as a line."""
    return orjson.dumps([type(message).__name__, *message], option=orjson.OPT_APPEND_NEWLINE)


def decode(line: bytes) -> Message | None:
    """The message in a line; None where it is of an unknown kind. Raises ValueError."""
    found = orjson.loads(line)
    if not isinstance(found, list) or not found:
        message = "a message is a list that begins with its kind"
        raise ValueError(message)
    kind = _KINDS.get(found[0])
    if kind is None:
        return None
    try:
        return kind(*found[1 : 1 + len(kind._fields)])
    except TypeError as error:
        message = f"a {found[0]} lacks fields"
        raise ValueError(message) from error
