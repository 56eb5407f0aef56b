"""Where an orchestrator's jobs get their places: from its own switchboard, or over a wire from the one that leads."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from simulation.wire import Wire
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.outliers import Ejected, Probe, Readmitted
from stoker_orchestrator.domain.switchboard import Effect, Granted, Outcome, Refused, Wake

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator
    from simulation.task import Attempt, Task


class Waiter(Protocol):
    """Who waits at a switchboard: a job of this process, or of a follower. `ticket` is None while it does not."""

    task: Task
    ticket: int | None

    def granted(self, desk: LocalDesk, grant: Granted) -> None:
        """There is a place."""

    def refused(self, refusal: Refusal) -> None:
        """There is none, and there will not be."""

    def moved(self) -> None:
        """Places are given out elsewhere now."""


class Desk(Protocol):
    """Gives out places and takes them back."""

    def take(self, task: Task) -> None:
        """A job asks for a place."""

    def leave(self, task: Task) -> None:
        """Its caller is gone before it had one."""

    def give_back(self, attempt: Attempt, outcome: Outcome) -> None:
        """A place is free again."""

    def adopt(self, attempts: list[Attempt]) -> None:
        """Count places that another desk gave out."""

    def hand_over(self) -> list[Attempt]:
        """The places that another desk counts from now on."""

    def send_away(self) -> None:
        """All who wait ask anew, those first who have waited longest."""


class LocalDesk:
    """Places by this process's own switchboard."""

    def __init__(self, owner: Orchestrator) -> None:
        self._owner = owner
        self._waiting: dict[int, Waiter] = {}
        self._taken: dict[int, Attempt] = {}
        self._tickets = itertools.count()

    def take(self, task: Task) -> None:
        """A job of this process asks for a place."""
        self.ask(task, task.model, task.ask)

    def ask(self, waiter: Waiter, model: Model, ask: Ask) -> None:
        """Somebody asks for a place."""
        ticket = waiter.ticket = next(self._tickets)
        self._waiting[ticket] = waiter
        self._owner.checker.asked(self._owner, waiter.task, ticket)
        self.do(self._owner.board.arrive(ticket, model, ask, self._owner.now))

    def leave(self, task: Task) -> None:
        """A job's caller is gone before it had a place."""
        self.left(task, task.model.name)

    def left(self, waiter: Waiter, model: str) -> bool:
        """Whoever asked is gone; False where it does not wait."""
        ticket = waiter.ticket
        if ticket is None or self._waiting.pop(ticket, None) is None:
            return False
        self._owner.board.leave(model, ticket)
        self._done(waiter, ticket)
        return True

    def give_back(self, attempt: Attempt, outcome: Outcome) -> None:
        """A place is free again."""
        del self._taken[attempt.task.job.number]
        self._owner.checker.released(self._owner, attempt)
        self.free(attempt.grant, outcome, self._owner.now - attempt.began)

    def free(self, grant: Granted, outcome: Outcome, seconds: float = 0.0) -> None:
        """A slot serves the next in line."""
        self.do(self._owner.board.release(grant, self._owner.now, outcome, seconds))

    def adopt(self, attempts: list[Attempt]) -> None:
        """Count places that another desk gave out."""
        for attempt in attempts:
            attempt.desk, attempt.grant = self, self.count(attempt.grant.endpoint, attempt.grant.cost)
            self._taken[attempt.task.job.number] = attempt

    def count(self, endpoint: Endpoint, cost: float) -> Granted:
        """A job runs there already."""
        return self._owner.board.adopt(endpoint, cost, self._owner.now)

    def hand_over(self) -> list[Attempt]:
        """The places that another desk counts from now on."""
        attempts, self._taken = list(self._taken.values()), {}
        for attempt in attempts:
            self.free(attempt.grant, Outcome.NEITHER)
        return attempts

    def send_away(self) -> None:
        """All who wait ask anew, those first who have waited longest."""
        for ticket in self._owner.board.evict():
            waiter = self._waiting.pop(ticket)
            self._done(waiter, ticket)
            waiter.moved()

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the switchboard said."""
        for effect in effects:
            match effect:
                case Granted(ticket):
                    waiter = self._waiting.pop(ticket)
                    self._owner.note(f"grants {effect.endpoint.id} to job {waiter.task.job.number}")
                    self._owner.checker.granted(self._owner, waiter.task, effect)
                    self._done(waiter, ticket)
                    waiter.granted(self, effect)
                case Refused(ticket, refusal):
                    waiter = self._waiting.pop(ticket)
                    self._done(waiter, ticket)
                    waiter.refused(refusal)
                case Ejected(endpoint, reason):
                    self._owner.note(f"ejects {endpoint.id}: {reason}")
                    self._owner.checker.changed(self._owner, endpoint.model)
                    self._give_up(endpoint)
                case Readmitted(endpoint):
                    self._owner.note(f"readmits {endpoint.id}")
                    self._owner.checker.changed(self._owner, endpoint.model)
                case Wake() | Probe():
                    self._owner.act(effect)

    def began(self, attempt: Attempt) -> None:
        """A job of this process has its place."""
        self._taken[attempt.task.job.number] = attempt

    def _done(self, waiter: Waiter, ticket: int) -> None:
        waiter.ticket = None
        self._owner.checker.left(self._owner, waiter.task, ticket)

    def _give_up(self, endpoint: Endpoint) -> None:
        """What runs on an endpoint that was ejected is lost."""
        for attempt in [each for each in self._taken.values() if each.grant.endpoint is endpoint]:
            attempt.give_up()
        self._owner.followers_give_up(endpoint)


class RemoteDesk:
    """Places that the leader gives out, while one wire lasts."""

    def __init__(self, owner: Orchestrator, wire: Wire) -> None:
        self._owner = owner
        self._wire = wire
        self._numbers = itertools.count()
        self._waiters: dict[int, tuple[Task, float]] = {}
        self._held: dict[int, Attempt] = {}

    def take(self, task: Task) -> None:
        """A job asks for a place."""
        number = task.number = next(self._numbers)
        self._waiters[number] = task, self._owner.now
        self._wire.send(self._wire.leader, self._wire.leader.followers.asked, self._wire, number, task, task.ask)

    def leave(self, task: Task) -> None:
        """Its caller is gone before it had one."""
        if task.number is not None and self._waiters.pop(task.number, None) is not None:
            self._wire.send(self._wire.leader, self._wire.leader.followers.left, self._wire, task.number)

    def give_back(self, attempt: Attempt, outcome: Outcome) -> None:
        """A place is free again."""
        del self._held[attempt.grant.ticket]
        self._owner.checker.released(self._owner, attempt)
        self._wire.send(self._wire.leader, self._wire.leader.followers.returned, self._wire, attempt.grant.ticket, outcome)

    def adopt(self, attempts: list[Attempt]) -> None:
        """Let the leader count places that were given out before."""
        for attempt in attempts:
            attempt.desk, attempt.grant = self, replace(attempt.grant, ticket=next(self._numbers))
            self._held[attempt.grant.ticket] = attempt
        now = self._owner.now
        held = [(number, each.grant.endpoint, each.grant.cost, now - each.began) for number, each in self._held.items()]
        self._wire.send(self._wire.leader, self._wire.leader.followers.held, self._wire, held)

    def hand_over(self) -> list[Attempt]:
        """The places that another desk counts from now on."""
        attempts, self._held = list(self._held.values()), {}
        return attempts

    def send_away(self) -> None:
        """All who wait ask anew, those first who have waited longest."""
        waiters, self._waiters = self._waiters, {}
        for task, _ in sorted(waiters.values(), key=lambda each: each[1] - each[0].ask.waited):
            task.moved()

    def given(self, number: int, endpoint: Endpoint, cold: float) -> None:
        """The leader gives a place; a job that has left meanwhile has said so."""
        task, _ = self._waiters.pop(number, (None, 0.0))
        if task is not None:
            known = self._owner.board.registry.endpoint(endpoint.id) or Endpoint(endpoint.id, endpoint.model, endpoint.address)
            self._held[number] = task.run(self, Granted(number, known, task.ask.cost, cold))

    def denied(self, number: int, refusal: Refusal) -> None:
        """The leader refuses."""
        task, _ = self._waiters.pop(number, (None, 0.0))
        if task is not None:
            task.refused(refusal)

    def give_up(self, number: int) -> None:
        """The endpoint was ejected."""
        if number in self._held:
            self._held[number].give_up()
