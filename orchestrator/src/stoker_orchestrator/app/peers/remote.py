"""Places that the leader gives out, asked for over the link."""

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.desk import MovedError, RefusedError, Slot
from stoker_orchestrator.app.peers.messages import Asked, Denied, Given, GiveUp, Held, Left, Message, Returned
from stoker_orchestrator.app.peers.wire import Wire
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Granted


@dataclass(slots=True, eq=False)
class _Waiter:
    """A job whose question is under way."""

    future: asyncio.Future[Slot]
    model: Model
    ask: Ask
    asked: float


class RemoteDesk:
    """A follower's desk while one link lasts."""

    def __init__(self, wire: Wire, registry: Registry) -> None:
        self._wire = wire
        self._registry = registry
        self._numbers = itertools.count()
        self._waiters: dict[int, _Waiter] = {}
        self._held: dict[int, Slot] = {}

    def take_now(self, model: Model, cost: float) -> Slot | None:  # noqa: ARG002 - a desk's own signature
        """Nothing can be had here without asking the leader."""
        return None

    async def take(self, model: Model, ask: Ask) -> Slot:
        """Wait for a place on a worker of `model`, which must be given back. Raises RefusedError, MovedError."""
        number = next(self._numbers)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), model, ask, time.monotonic())
        self._waiters[number] = waiter
        self._wire.send(
            Asked(number, model.name, ask.cost, ask.caller, ask.patience, ask.waited, list(ask.excluded))
        )  # fmt: skip
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.cancelled() or not waiter.future.done():
                self._wire.send(Left(number))
            elif waiter.future.exception() is None:
                slot = waiter.future.result()
                slot.desk.give_back(slot)
            raise
        finally:
            del self._waiters[number]

    def give_back(self, slot: Slot) -> None:
        """The place is free again."""
        del self._held[slot.grant.ticket]
        self._wire.send(Returned(slot.grant.ticket, slot.outcome.name))

    def adopt(self, slots: Iterable[Slot]) -> None:
        """Let the leader count slots that were given out before."""
        for slot in slots:
            slot.desk, slot.grant = self, Granted(next(self._numbers), slot.endpoint, slot.cost)
            self._held[slot.grant.ticket] = slot
        held, now = self._held.items(), time.monotonic()
        self._wire.send(
            Held(
                [(number, slot.endpoint.id, slot.endpoint.model, slot.cost) for number, slot in held],
                [now - slot.began for _, slot in held],
            )
        )

    def hand_over(self) -> list[Slot]:
        """The slots of this follower, which somebody else counts from now on."""
        slots = list(self._held.values())
        self._held.clear()
        return slots

    def send_away(self) -> None:
        """All who wait ask anew, those first who have waited longest."""
        for waiter in sorted(self._waiters.values(), key=lambda each: each.asked - each.ask.waited):
            if not waiter.future.done():
                waiter.future.set_exception(MovedError())

    def hear(self, message: Message) -> None:
        """What the leader says about jobs of this follower."""
        match message:
            case Given(number):
                self._give(number, message)
            case Denied(number):
                waiter = self._waiters.get(number)
                if waiter is not None and not waiter.future.done():
                    waiter.future.set_exception(RefusedError(_refusal(message)))
            case GiveUp(number):
                slot = self._held.get(number)
                if slot is not None and slot.give_up is not None:
                    slot.give_up()

    def _give(self, number: int, given: Given) -> None:
        """A job that has left meanwhile has said so: the leader takes its slot back by itself."""
        waiter = self._waiters.get(number)
        if waiter is None or waiter.future.done():
            return
        foreign = "://" in given.address  # workers of ours are reached by host and port
        unseen = Endpoint(given.endpoint, waiter.model.name, given.address, pulse=not foreign)
        endpoint = self._registry.endpoint(given.endpoint) or unseen
        now, ask = time.monotonic(), waiter.ask
        grant = Granted(number, endpoint, ask.cost)
        slot = self._held[number] = Slot(self, endpoint, ask.cost, now, ask.waited + now - waiter.asked, given.cold, grant)
        waiter.future.set_result(slot)


def _refusal(denied: Denied) -> Refusal:
    kind = ErrorType(denied.kind) if denied.kind in set(ErrorType) else ErrorType.OVERLOADED
    return Refusal(denied.status, kind, denied.message, denied.code, denied.retry_after)
