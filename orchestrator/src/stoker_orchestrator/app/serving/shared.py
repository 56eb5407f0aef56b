"""What all connections of a server share."""

from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from stoker_orchestrator.adapters.outbox import Outbox
from stoker_orchestrator.app.body import Budget
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.domain.admission import Refusal


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may use. Times are in seconds.

    `head` is from a connection's or a request's first moment to the end of its head, `idle` between two requests, `stall` without
    a byte of a body or of an answer moving, `farewell` from an answer to one more request that a server which stops expects on the
    same connection. `body` is in bytes.
    """

    connections: int = 4096
    head: float = 10.0
    idle: float = 75.0
    stall: float = 30.0
    farewell: float = 1.0
    body: int = 32 * 2**20


class Handler(Protocol):
    """Whoever answers requests."""

    def begin(self, exchange: Exchange) -> None:
        """Answer, at once or later: by `spawn`, or with `done` in the end. An exchange that is not finished then is broken off."""

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer what is no request."""


class Member(Protocol):
    """A connection, as its server sees it."""

    def sweep(self, now: float) -> None:
        """End what has lasted for too long."""

    def wind_down(self) -> None:
        """The next answer is the last."""

    def expects(self, now: float) -> bool:
        """Whether the caller was answered just now and may come again."""

    def hang_up(self) -> None:
        """Close where nothing is being served."""

    def abort(self) -> None:
        """Close whatever happens."""


@dataclass(slots=True)
class Shared:
    """`date` is the header of that name with the end of the head behind it, renewed each second."""

    handler: Handler
    limits: Limits
    budget: Budget
    date: bytes = b""
    outbox: Outbox = field(default_factory=Outbox)
    stopping: bool = False
    members: set[Member] = field(default_factory=set)

    def enter(self, member: Member) -> bool:
        """Take in a connection; False where there are too many for it to be served."""
        self.members.add(member)
        return len(self.members) <= self.limits.connections

    def tell_time(self) -> None:
        """Renew the date."""
        self.date = b"date: %b\r\n\r\n" % formatdate(usegmt=True).encode()
