"""One of several orchestrators: it stands for election, leads or follows, and keeps its broker's desk where slots are counted."""

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from stoker_orchestrator.adapters.leases.port import LeaseError, LeaseStore
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.peers.followers import Followers
from stoker_orchestrator.app.peers.link import Link
from stoker_orchestrator.app.peers.messages import Loaded
from stoker_orchestrator.app.peers.wire import Wire
from stoker_orchestrator.domain.election import (
    Call,
    Candidate,
    Cease,
    Effect,
    Election,
    Evidence,
    Follow,
    Lead,
    Read,
    Reason,
    Write,
)
from stoker_orchestrator.domain.following import load_of

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
PUSH_SECONDS = 0.05
"""What changes within so short a time is told to followers together."""
LOST_SECONDS = 10.0
"""Without a leader for so long this process is not ready: others may know one."""


class DeafError(Exception):
    """The other orchestrators could not reach this one, in words."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where this process is: its pod, the address that the others reach it at, and what it listens on. Port 0: any."""

    pod: str
    address: str
    host: str
    port: int


class Peers:
    """This process among its peers. Until it knows who leads, all jobs wait."""

    def __init__(self, site: Site, store: LeaseStore, broker: Broker, metrics: Metrics) -> None:
        self._site = site
        self._store = store
        self._broker = broker
        self._metrics = metrics
        self._group: asyncio.TaskGroup | None = None
        self._known_at = float("-inf")
        self._began = False
        broker.switchboard.paused = True
        broker.may_write = self._may_write
        metrics.leading.set(0)

    @property
    def ready(self) -> bool:
        """Whether jobs that come are served, or will be before long."""
        return self._began and time.monotonic() - self._known_at < LOST_SECONDS

    @property
    def leading(self) -> bool:
        """Whether this process gives out the slots."""
        return self._began and self._election.leading

    async def run(self) -> None:
        """Take part until cancelled. Raises DeafError."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: Wire(self._followers.accept), self._site.host, self._site.port)
        except OSError as error:
            message = f"port {self._site.port} cannot be listened on for the other orchestrators: {error.strerror}"
            raise DeafError(message) from error
        self._begin(server.sockets[0].getsockname()[1])
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._tick())
                self._group.create_task(self._push())
        finally:
            self._group = None
            server.close()
            self._link.leave()
            self._followers.close()
            await self._store.close()

    def retire(self) -> None:
        """This process stops before long: where there is a follower, let it lead, and finish what runs here as its follower."""
        if self._began and (not self.leading or self._followers.identities):
            self._do(self._election.retire(time.monotonic()))

    async def end(self, seconds: float = 1.0) -> None:
        """This process stops now: give up the lead, if the API server answers within so many seconds."""
        if not self._began:
            return
        self._do(self._election.end(time.monotonic()))
        give_up = time.monotonic() + seconds
        while self.leading and time.monotonic() < give_up:  # noqa: ASYNC110 - told by the election, once in a process's life
            await asyncio.sleep(0.01)

    def _begin(self, port: int) -> None:
        site, board = self._site, self._broker.switchboard
        host = f"[{site.address}]" if ":" in site.address else site.address
        me = Candidate(f"{site.pod}/{secrets.token_hex(4)}", f"{host}:{port}", secrets.token_urlsafe(24))
        self._election = Election(me)
        self._followers = Followers(me, self._broker.local, board, lambda leader: self._do(self._election.told(leader)))
        self._link = Link(me, self._broker.desk, board, self._doubt, self._look, self._dismissed)
        self._began = True

    def _may_write(self) -> bool:
        return self._began and not self._broker.switchboard.paused and self._election.may_write(time.monotonic())

    async def _tick(self) -> None:
        while True:
            now = time.monotonic()
            if self._election.leading or self._link.linked:
                self._known_at = now
            self._do(self._election.tick(now))
            await asyncio.sleep(TICK_SECONDS)

    async def _push(self) -> None:
        """Tell followers how busy everything is, soon after it changed."""
        publisher, number, told = self._broker.publisher, 0, None
        while True:
            number = await publisher.after(number)
            peers = self._followers.identities
            load = load_of(self._broker.switchboard, time.monotonic())
            if peers and told != (load, peers):
                told = load, peers
                self._followers.tell(Loaded(load.wire(), peers))
            await asyncio.sleep(PUSH_SECONDS)

    def _doubt(self, identity: str, evidence: Evidence | None) -> None:
        if evidence is None:
            self._do(self._election.trust(identity))
        else:
            self._do(self._election.doubt(identity, evidence, time.monotonic()))

    def _look(self) -> None:
        self._do(self._election.look(time.monotonic()))

    def _dismissed(self) -> None:
        self._do(self._election.dismissed(time.monotonic()))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Read() | Write():
                    self._start(self._call(effect))
                case Lead(reason):
                    self._lead(reason)
                case Cease(reason):
                    self._cease(reason)
                case Follow(leader):
                    log.info("%s leads", leader.identity)
                    self._link.follow(leader)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            if self._group is not None:
                self._group.create_task(work)
                return
        except RuntimeError:
            log.debug("nothing begins any more: this process ends")
        work.close()

    async def _call(self, call: Call) -> None:
        try:
            seen = await (self._store.read() if isinstance(call, Read) else self._store.write(call))
        except LeaseError as error:
            log.warning("the Lease could not be read or written, will be tried again: %s", error)
            self._do(self._election.away(time.monotonic()))
            return
        now = time.monotonic()
        if seen is None:
            self._do(self._election.conflicted())
        else:
            self._do(self._election.read(seen, now) if isinstance(call, Read) else self._election.wrote(seen, now))
        self._do(self._election.tick(now))

    def _lead(self, reason: Reason) -> None:
        """Give out the slots, once it is known which are taken: those who followed the same leader say so."""
        me = self._election.me
        awaited = set() if self._election.first else self._link.peers
        alive = self._link.leave(successor=me)
        if awaited is not None:
            awaited = (awaited | {alive} if alive is not None else awaited) - {me.identity}
        self._metrics.leading.set(1)
        self._metrics.decisions.labels("lead", reason).inc()
        log.info("this orchestrator leads (%s)", reason)
        self._followers.lead(awaited)
        self._broker.rouse()

    def _cease(self, reason: Reason) -> None:
        self._broker.switchboard.paused = True
        self._followers.cease()
        self._metrics.leading.set(0)
        self._metrics.decisions.labels("lead", reason).inc()
        log.info("this orchestrator leads no longer (%s)", reason)
        self._broker.rouse()
