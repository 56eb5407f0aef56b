"""The short way of a job, without a task.

Where its body is at hand, a worker is free and a connection to it is kept, nothing must be waited for but the worker itself.
Whatever else happens to such a job sends it the long way, from where it is.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

from stoker_contracts.names import HEADER_MODEL, HEADER_TIMEOUT
from stoker_contracts.pipelines import FACTS
from stoker_orchestrator.adapters.connection import Connection
from stoker_orchestrator.adapters.upstream import Pending, Upstream, WorkerLostError
from stoker_orchestrator.app.attempts import Attempts, Begun
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.desk import RefusedError, Slot
from stoker_orchestrator.app.event_stream import wants_events
from stoker_orchestrator.app.foreign import Foreign
from stoker_orchestrator.app.forwarding import MODEL, REFUSED, about, identified, lines, onward, outcome_of, passed_back
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.target import Path, Target, target_of_json

_LONG_WAY = frozenset(name.lower().encode() for name in (HEADER_MODEL, HEADER_TIMEOUT))
"""Headers that ask for more than a worker."""


class Owner(Protocol):
    """Who counts jobs, and knows the long way."""

    def landed(self, flight: "Flight", status: int, reason: str) -> None:
        """The job is over."""

    def detour(self, flight: "Flight", begun: Begun) -> None:
        """The job goes on the long way."""


@dataclass(slots=True, eq=False)
class Flight:
    """A job on the short way."""

    owner: Owner
    upstream: Upstream
    exchange: Exchange
    path: Path
    identity: str
    target: Target
    slot: Slot
    pending: Pending
    connection: Connection

    def news(self) -> None:
        """Something has come from the worker, or the way to it has broken."""
        connection = self.connection
        if connection.whole and connection.status and connection.status != REFUSED and self.slot.endpoint.pulse:
            self._answer(connection)
        elif connection.lost or connection.status:
            self._leave()
            self.owner.detour(self, Begun(self.slot, self.pending))

    def _answer(self, connection: Connection) -> None:
        self._leave()
        told = identified(self.identity) + _told(self.target.model.name, self.slot.endpoint.id)
        self.exchange.start(connection.status, passed_back(connection.headers), told)
        self.exchange.finish(connection.everything())
        self.upstream.give_back(self.pending.address, connection)
        self.slot.outcome = outcome_of(connection.status)
        self._end(connection.status, "answered")

    def stop(self, _: Exception) -> None:
        """The caller is gone: the worker learns it from the end of its connection."""
        self._leave()
        self.connection.close()
        self._end(499, "caller_gone")

    def _give_up(self) -> None:
        self.connection.kept = False  # or it would be taken for one that was closed while nobody used it
        self.connection.fail(WorkerLostError("the worker does not answer any more", sent=False))

    def begin(self) -> None:
        """From now on."""
        self.connection.news, self.exchange.on_stop, self.slot.give_up = self.news, self.stop, self._give_up

    def _leave(self) -> None:
        self.connection.news = self.exchange.on_stop = self.slot.give_up = None

    def _end(self, status: int, reason: str) -> None:
        self.slot.desk.give_back(self.slot)
        self.owner.landed(self, status, reason)


class Express:
    """Sends jobs the short way."""

    def __init__(self, broker: Broker, upstream: Upstream, attempts: Attempts, foreign: Foreign, owner: Owner) -> None:
        self._broker = broker
        self._upstream = upstream
        self._attempts = attempts
        self._foreign = foreign
        self._owner = owner

    def takes(self, exchange: Exchange, path: Path) -> bool:
        """Whether a request asks for nothing but a worker."""
        headers = exchange.headers
        return (
            exchange.body.whole
            and path.name is None
            and exchange.method == b"POST"
            and _LONG_WAY.isdisjoint(headers)
            and not exchange.late
            and not FACTS[path.pipeline].takes_image
            and not self._attempts.wary
            and not wants_events(headers)
        )

    def begin(self, exchange: Exchange, path: Path, identity: str) -> bool:
        """Send a job on its way; False where it must go the long one."""
        body = exchange.body.in_memory()
        if body is None:
            return False
        try:
            target = target_of_json(self._broker.registry, path, body)
        except RefusedError:
            return False
        slot = self._broker.take_now(target.model, target.cost)
        if slot is None:
            return False
        head = onward(exchange.headers, path.pipeline, identity) + self._foreign.shown_to(slot.endpoint)
        pending = self._upstream.begin(slot.endpoint.address, path.route, head, body)
        if pending is None or pending.connection is None:
            slot.desk.give_back(slot)
            return False
        Flight(self._owner, self._upstream, exchange, path, identity, target, slot, pending, pending.connection).begin()
        return True


@functools.lru_cache(maxsize=4096)
def _told(model: str, endpoint: str) -> bytes:
    """What the caller is told of a job that did not wait."""
    return lines([(MODEL, model.encode()), *about(endpoint, 0.0, cold=False)])
