"""One follower, as the leader sees it: each of its questions is asked at the leader's own desk."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import zip_longest

from stoker_contracts.errors import ErrorType
from stoker_orchestrator.app.desk import LocalDesk, MovedError, RefusedError, Slot
from stoker_orchestrator.app.peers.messages import Asked, Denied, Given, GiveUp, Held, Left, Message, Returned, Settled
from stoker_orchestrator.app.peers.wire import Wire
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Endpoint, Model
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Granted, Outcome

_SEEN_SECONDS = 2.0
"""How much later than a follower the leader may see a new model."""
_LOOK_SECONDS = 0.05


class Follower:
    """The jobs of one follower, while its connection lasts. `settled` is told once its jobs are known."""

    def __init__(self, identity: str, wire: Wire, local: LocalDesk, registry: Registry, settled: Callable[[], None]) -> None:
        self.identity = identity
        self.wire = wire
        self._local = local
        self._registry = registry
        self._settled = settled
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._slots: dict[int, Slot] = {}
        self._ageless: set[int] = set()
        """The slots whose time tells nothing: nobody said how much of it was over when they came."""

    def hear(self, message: Message) -> None:
        """What the follower says about its jobs."""
        match message:
            case Asked(number):
                task = self._asking[number] = asyncio.create_task(self._ask(message))
                task.add_done_callback(lambda _: self._asking.pop(number, None))
            case Left(number):
                self._leave(number)
            case Returned(number, outcome):
                self._take_back(number, Outcome[outcome] if outcome in Outcome.__members__ else Outcome.NEITHER)
            case Held(slots, ages):
                for (number, endpoint, model, cost), age in zip_longest(slots, ages[: len(slots)]):
                    self._count(number, endpoint, model, cost, age)
            case Settled():
                asyncio.get_running_loop().call_soon(self._settled)  # after its questions have come to the desk

    def end(self) -> list[Slot]:
        """Nothing more comes: what waits leaves the line. Returns the slots that are in use, or may be."""
        for task in self._asking.values():
            task.cancel()
        slots = list(self._slots.values())
        self._slots.clear()
        return slots

    async def _ask(self, asked: Asked) -> None:
        try:
            model = await self._model(asked.model)
            ask = Ask(asked.cost, asked.caller, asked.patience, asked.waited, tuple(asked.excluded))
            slot = await self._local.take(model, ask)
        except RefusedError as error:
            refusal = error.refusal
            self.wire.send(
                Denied(asked.number, refusal.status, refusal.kind, refusal.message, refusal.code, refusal.retry_after)
            )  # fmt: skip
        except MovedError:
            pass  # the follower hears that there is another leader, and asks there
        else:
            self._keep(asked.number, slot)
            self.wire.send(Given(asked.number, slot.endpoint.id, slot.endpoint.address, slot.cold))

    async def _model(self, name: str) -> Model:
        """The model, which this process may see a moment later than the follower. Raises RefusedError."""
        give_up = time.monotonic() + _SEEN_SECONDS
        while (model := self._registry.model(name)) is None:
            if time.monotonic() > give_up:
                raise RefusedError(Refusal(404, ErrorType.MODEL_NOT_FOUND, "the model is no longer offered"))
            await asyncio.sleep(_LOOK_SECONDS)
        return model

    def _keep(self, number: int, slot: Slot) -> None:
        self._slots[number] = slot
        slot.give_up = partial(self.wire.send, GiveUp(number))

    def _leave(self, number: int) -> None:
        task = self._asking.get(number)
        if task is not None:
            task.cancel()
        self._take_back(number, Outcome.NEITHER)

    def _take_back(self, number: int, outcome: Outcome) -> None:
        slot = self._slots.pop(number, None)
        if slot is not None:
            ageless = number in self._ageless and outcome is Outcome.SERVED
            slot.outcome = Outcome.ANSWERED if ageless else outcome
            slot.desk.give_back(slot)
        self._ageless.discard(number)

    def _count(self, number: int, identity: str, model: str, cost: float, age: float | None) -> None:
        """A slot that another desk gave out so many seconds ago; a follower of an earlier release does not say."""
        if age is None:
            self._ageless.add(number)
        endpoint = self._registry.endpoint(identity) or Endpoint(identity, model, "")
        slot = Slot(self._local, endpoint, cost, time.monotonic() - (age or 0.0), 0.0, 0.0, grant=Granted(number, endpoint, cost))
        self._local.adopt([slot])
        self._keep(number, slot)
