"""One of several orchestrators: it stands for election, leads or follows, and keeps its desk where slots are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.desk import RemoteDesk
from simulation.followers import Followers
from simulation.wire import Office, Wire
from stoker_orchestrator.domain.admission import Refusal
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
    Seen,
    Write,
)
from stoker_orchestrator.domain.following import follow, unfollow
from stoker_orchestrator.domain.load import Load
from stoker_orchestrator.domain.model import Endpoint

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator

_AGAIN_SECONDS = 0.2
_DEAF_SECONDS = 5.0
_API_SECONDS = (0.005, 0.1)
_AWAY_SECONDS = (0.1, 10.0)


class Peer:
    """An orchestrator among its peers. Until it knows who leads, all its jobs wait."""

    def __init__(self, orchestrator: Orchestrator, office: Office) -> None:
        office.generations += 1
        self.orchestrator = orchestrator
        self.pod = orchestrator.name
        self.identity = f"{orchestrator.name}/{office.generations}"
        self.election = Election(Candidate(self.identity, orchestrator.name, ""))
        self._office = office
        self._heap = office.heap
        self._local = orchestrator.local
        self.followers = Followers(orchestrator)
        self._following: Candidate | None = None
        self._visits = 0
        self._reached = False
        self.deaf_until = 0.0
        """When a call to the API server whose answer was lost has been made again."""
        self._wire: Wire | None = None
        self._remote: RemoteDesk | None = None
        self._fellows: set[str] | None = None
        office.peers[self.identity] = self
        orchestrator.board.paused = True

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.orchestrator.running

    @property
    def may_write(self) -> bool:
        """Whether it decides how many workers run."""
        return not self.orchestrator.board.paused and self.election.may_write(self.orchestrator.now)

    def tick(self) -> None:
        """Time has passed; followers are told what has changed."""
        self._do(self.election.tick(self.orchestrator.now))
        self.followers.tell()

    def crash(self) -> None:
        """The process is no more."""
        del self._office.peers[self.identity]
        for wire in [*self.followers.wires, *([self._wire] if self._wire is not None else [])]:
            wire.close(self)

    # The election.

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Read() | Write():
                    away = self.orchestrator.watch.away
                    self._heap.after(self._heap.chance.uniform(*(_AWAY_SECONDS if away else _API_SECONDS)), self._call, effect)
                case Lead(reason):
                    self.orchestrator.note(f"leads: {reason}")
                    self._lead()
                case Cease(reason):
                    self.orchestrator.note(f"ceases: {reason}")
                    self._cease()
                case Follow(leader):
                    self._follow(leader)

    def _call(self, call: Call) -> None:
        if not self.running:
            return
        if self.orchestrator.watch.away:
            self._do(self.election.away(self.orchestrator.now))
            return
        seen = self._office.lease if isinstance(call, Read) else self._office.write(call)
        if self._heap.chance.random() < self.orchestrator.watch.wire.lost:
            self.deaf_until = self._heap.now + _DEAF_SECONDS
            self._do(self.election.away(self.orchestrator.now))
        else:
            self._heap.after(self._heap.chance.uniform(*_API_SECONDS), self._answered, call, seen)

    def _answered(self, call: Call, seen: Seen | None) -> None:
        if not self.running:
            return
        now = self.orchestrator.now
        if seen is None:
            self._do(self.election.conflicted())
        else:
            self._do(self.election.read(seen, now) if isinstance(call, Read) else self.election.wrote(seen, now))
        self._do(self.election.tick(now))

    def _lead(self) -> None:
        """Give out the slots, once it is known which are taken: those who followed the same leader say so."""
        awaited = set() if self.election.first else self._fellows
        alive = self._leave(successor=self.election.me)
        if awaited is not None:
            awaited = (awaited | {alive} if alive else awaited) - {self.identity}
        self.followers.lead(awaited)

    def _cease(self) -> None:
        self.orchestrator.board.paused = True
        self.followers.cease()

    def succeeded(self, leader: Candidate) -> None:
        """Another one says that it leads."""
        self._do(self.election.told(leader))

    # As a follower.

    def _follow(self, leader: Candidate) -> None:
        self._leave()
        self._following, self._reached = leader, False
        self._visit(self._visits)

    def _leave(self, successor: Candidate | None = None) -> str | None:
        """Follow nobody. The one that was followed is told of its successor; returns who it was, where it still lived."""
        self._visits += 1
        wire, leader, self._wire, self._following = self._wire, self._following, None, None
        self._stand_alone()
        if wire is None or not wire.open:
            return None
        if successor is not None:
            wire.send(wire.leader, wire.leader.succeeded, successor)
        wire.close(self)
        return leader.identity if leader is not None else None

    def _visit(self, visit: int) -> None:
        """Connect to the leader; what speaks against it is told to the election."""
        leader = self._following
        if visit != self._visits or leader is None or not self.running:
            return
        there = self._office.peers.get(leader.identity)
        if there is not None and there.election.leading:
            self._wire = Wire(self._heap, self, there)
            self._wire.send(there, there.followers.greeted, self._wire)
            return
        if there is not None:
            self._do(self.election.look(self.orchestrator.now))
        another = self._office.in_pod(leader.pod) is not None
        gone = there is None and (self._reached or another)
        self._do(self.election.doubt(leader.identity, Evidence.GONE if gone else Evidence.SILENT, self.orchestrator.now))
        self._heap.after(_AGAIN_SECONDS, self._visit, visit)

    def welcomed(self, wire: Wire) -> None:
        """The leader takes this process's jobs."""
        if wire is not self._wire or self._following is None:
            return
        self._reached = True
        self._remote = RemoteDesk(self.orchestrator, wire)
        self.orchestrator.switch(self._remote)
        wire.send(wire.leader, wire.leader.followers.settled, wire)
        self._do(self.election.trust(self._following.identity))

    def loaded(self, wire: Wire, load: Load, fellows: list[str]) -> None:
        """The leader tells how busy everything is."""
        if wire is self._wire and self._remote is not None:
            self._fellows = set(fellows)
            follow(self.orchestrator.board, load, self.orchestrator.now)

    def given(self, wire: Wire, number: int, endpoint: Endpoint, cold: float) -> None:
        """The leader gives a place."""
        if wire is self._wire and self._remote is not None:
            self._remote.given(number, endpoint, cold)

    def denied(self, wire: Wire, number: int, refusal: Refusal) -> None:
        """The leader refuses a job."""
        if wire is self._wire and self._remote is not None:
            self._remote.denied(number, refusal)

    def given_up(self, wire: Wire, number: int) -> None:
        """The leader ejected an endpoint."""
        if wire is self._wire and self._remote is not None:
            self._remote.give_up(number)

    def dismissed(self, wire: Wire) -> None:
        """The leader leads no longer."""
        if wire is self._wire:
            self._stand_alone()
            self._do(self.election.dismissed(self.orchestrator.now))

    def _stand_alone(self) -> None:
        """Nobody gives out slots: what is in use counts here, and who waits does so here."""
        if self._remote is not None:
            self._remote = None
            unfollow(self.orchestrator.board, self.orchestrator.now)
            self.orchestrator.switch(self._local)

    def hung_up(self, wire: Wire) -> None:
        """The other end of a connection is no more."""
        if wire is self._wire:
            self._wire = None
            self._stand_alone()
            self._visits += 1
            self._visit(self._visits)
        self.followers.hung_up(wire)
