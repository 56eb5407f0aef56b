"""What a leader does for those who follow it: each of their questions is asked at its own desk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulation.desk import LocalDesk
from simulation.wire import Wire
from stoker_contracts.errors import ErrorType
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.following import load_of
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.load import Load
from stoker_orchestrator.domain.model import Endpoint
from stoker_orchestrator.domain.switchboard import Granted, Outcome

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator
    from simulation.task import Task

_SETTLE_SECONDS = 2.0
_COME_BACK_SECONDS = 1.0


@dataclass(eq=False)
class Guest:
    """A follower's job at the leader's desk."""

    task: Task
    number: int
    followers: Followers
    wire: Wire
    ticket: int | None = None

    def granted(self, desk: LocalDesk, grant: Granted) -> None:
        """There is a place."""
        self.followers.keep(self, desk, grant)

    def refused(self, refusal: Refusal) -> None:
        """There is none, and there will not be."""
        self.followers.deny(self, refusal)

    def moved(self) -> None:
        """The follower hears that there is another leader, and asks there."""


@dataclass(slots=True)
class _Follower:
    """What one follower asks for and has: slots with the moment since when."""

    wire: Wire
    asking: dict[int, Guest] = field(default_factory=dict)
    slots: dict[int, tuple[Granted, float]] = field(default_factory=dict)


class Followers:
    """Their jobs, while their connections last and this process leads."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._heap = orchestrator.heap
        self._local = orchestrator.local
        self._linked: dict[str, _Follower] = {}
        self._absent: dict[str, list[tuple[Granted, float]]] = {}
        self._awaited: set[str] | None = None
        self._term = 0
        self._leading = False
        self._told: tuple[Load, list[str]] | None = None

    @property
    def wires(self) -> list[Wire]:
        """Their connections."""
        return [follower.wire for follower in self._linked.values()]

    def lead(self, awaited: set[str] | None) -> None:
        """Take jobs. Slots are given out once the awaited ones have said which they use, or do not come in time."""
        self._leading, self._awaited = True, awaited
        self._term += 1
        self._heap.after(0.0 if awaited == set() else _SETTLE_SECONDS, self._settle, self._term)

    def cease(self) -> None:
        """Take no more jobs; all followers are told."""
        self._leading = False
        self._term += 1
        linked, self._linked = self._linked, {}
        for follower in linked.values():
            follower.wire.send(follower.wire.follower, follower.wire.follower.dismissed, follower.wire)
            self._free(self._end(follower))
        absent, self._absent = self._absent, {}
        for slots in absent.values():
            self._free(slots)

    def tell(self) -> None:
        """Tell followers how busy everything is, where that has changed."""
        if self._linked:
            told = load_of(self._orchestrator.board, self._orchestrator.now), sorted(self._linked)
            if told != self._told:
                self._told = told
                for identity in self._linked:
                    self._tell(identity)

    def _settle(self, term: int) -> None:
        """All that is in use is known, as far as it can be."""
        if self._orchestrator.running and term == self._term and self._leading and self._orchestrator.board.paused:
            self._orchestrator.note("gives out slots")
            self._local.do(self._orchestrator.board.resume(self._orchestrator.now))

    def hung_up(self, wire: Wire) -> None:
        """A follower's connection ended: its slots are kept for a moment, lest they are given out twice."""
        for identity, follower in list(self._linked.items()):
            if follower.wire is wire:
                del self._linked[identity]
                slots = self._end(follower)
                self._absent.setdefault(identity, []).extend(slots)
                self._heap.after(_COME_BACK_SECONDS, self._forget, identity, slots)

    def greeted(self, wire: Wire) -> None:
        """A follower has come."""
        if not self._leading:
            wire.close(wire.leader)
            return
        self._linked[wire.follower.identity] = _Follower(wire)
        wire.send(wire.follower, wire.follower.welcomed, wire)
        self._tell(wire.follower.identity)

    def asked(self, wire: Wire, number: int, task: Task, ask: Ask) -> None:
        """A follower's job asks for a place."""
        follower = self._at(wire)
        if follower is None:
            return
        guest = follower.asking[number] = Guest(task, number, self, wire)
        model = self._orchestrator.board.registry.model(task.model.name)
        if model is None:
            self.deny(guest, Refusal(404, ErrorType.MODEL_NOT_FOUND, "the model is no longer offered"))
        else:
            self._local.ask(guest, model, ask)

    def keep(self, guest: Guest, desk: LocalDesk, grant: Granted) -> None:
        """A follower's job has its place, unless the follower is gone."""
        follower = self._at(guest.wire)
        if follower is None or follower.asking.pop(guest.number, None) is None:
            desk.free(grant, Outcome.NEITHER)
            return
        follower.slots[guest.number] = grant, self._orchestrator.now
        receiver = guest.wire.follower
        guest.wire.send(receiver, receiver.given, guest.wire, guest.number, grant.endpoint, grant.cold)

    def deny(self, guest: Guest, refusal: Refusal) -> None:
        """A follower's job is refused."""
        follower = self._at(guest.wire)
        if follower is not None and follower.asking.pop(guest.number, None) is not None:
            guest.wire.send(guest.wire.follower, guest.wire.follower.denied, guest.wire, guest.number, refusal)

    def left(self, wire: Wire, number: int) -> None:
        """A follower's caller is gone."""
        follower = self._at(wire)
        guest = follower.asking.pop(number, None) if follower is not None else None
        if guest is not None:
            self._local.left(guest, guest.task.model.name)
        elif follower is not None and number in follower.slots:
            self._free([follower.slots.pop(number)])

    def returned(self, wire: Wire, number: int, outcome: Outcome) -> None:
        """A follower's job has ended."""
        follower = self._at(wire)
        if follower is not None and number in follower.slots:
            grant, began = follower.slots.pop(number)
            self._local.free(grant, outcome, self._orchestrator.now - began)

    def held(self, wire: Wire, slots: list[tuple[int, Endpoint, float, float]]) -> None:
        """A follower says which places its jobs have, and for how long."""
        follower = self._at(wire)
        if follower is not None:
            for number, endpoint, cost, age in slots:
                grant = self._local.count(Endpoint(endpoint.id, endpoint.model, endpoint.address), cost)
                follower.slots[number] = grant, self._orchestrator.now - age

    def settled(self, wire: Wire) -> None:
        """A follower has said all that it has."""
        identity = wire.follower.identity
        self._free(self._absent.pop(identity, []))
        if self._awaited is not None:
            self._awaited.discard(identity)
            if not self._awaited:
                self._settle(self._term)

    def give_up(self, endpoint: Endpoint) -> None:
        """An endpoint was ejected: followers give up what runs there."""
        for follower in self._linked.values():
            for number, (grant, _) in follower.slots.items():
                if grant.endpoint is endpoint:
                    follower.wire.send(follower.wire.follower, follower.wire.follower.given_up, follower.wire, number)

    def _tell(self, identity: str) -> None:
        load = load_of(self._orchestrator.board, self._orchestrator.now)
        wire = self._linked[identity].wire
        wire.send(wire.follower, wire.follower.loaded, wire, load, sorted(self._linked))

    def _at(self, wire: Wire) -> _Follower | None:
        follower = self._linked.get(wire.follower.identity)
        return follower if follower is not None and follower.wire is wire else None

    def _end(self, follower: _Follower) -> list[tuple[Granted, float]]:
        """Nothing more comes: what waits leaves the line. Returns the slots that are in use, or may be."""
        asking, follower.asking = follower.asking, {}
        for guest in asking.values():
            self._local.left(guest, guest.task.model.name)
        slots, follower.slots = list(follower.slots.values()), {}
        return slots

    def _forget(self, identity: str, slots: list[tuple[Granted, float]]) -> None:
        """A follower has not come back."""
        if self._orchestrator.running:
            absent = self._absent.pop(identity, [])
            left = [each for each in absent if each not in slots]
            if left:
                self._absent[identity] = left
            self._free([each for each in slots if each in absent])

    def _free(self, slots: list[tuple[Granted, float]]) -> None:
        for grant, _ in slots:
            self._local.free(grant, Outcome.NEITHER)
