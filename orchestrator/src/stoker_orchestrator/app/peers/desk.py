"""The desk that counts now: this process's own, or the leader's. Nothing that waits or runs is lost when it changes."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from stoker_orchestrator.app.desk import Desk, LocalDesk, MovedError, Slot
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Model


class HandingDesk(Desk, Protocol):
    """A desk whose work another one can go on with."""

    def adopt(self, slots: Iterable[Slot]) -> None:
        """Count slots that another desk gave out."""

    def hand_over(self) -> list[Slot]:
        """The slots that are counted here, which somebody else counts from now on."""

    def send_away(self) -> None:
        """All who wait ask anew, those first who have waited longest."""


class SwitchingDesk:
    """Asks one desk at a time."""

    def __init__(self, local: LocalDesk) -> None:
        self.local = local
        self.current: HandingDesk = local

    async def take(self, model: Model, ask: Ask) -> Slot:
        """Wait for a place on a worker of `model`, which must be given back to its desk. Raises RefusedError.

        Who waits while the desk changes asks again, and its waiting so far counts; a cold start is not counted against the caller's
        own time, at whichever desk it was.
        """
        began = asked = time.monotonic()
        first, cold = ask, 0.0
        while True:
            try:
                slot = await self.current.take(model, ask)
            except MovedError:
                now = time.monotonic()
                if not self.local.is_warm(model.name):
                    cold += now - asked
                asked = now
                ask = _again(first, now - began, cold)
            else:
                slot.cold += cold
                return slot

    def take_now(self, model: Model, cost: float) -> Slot | None:
        """A place that can be had without waiting, which must be given back to its desk."""
        return self.current.take_now(model, cost)

    def switch(self, desk: HandingDesk) -> None:
        """From now on `desk` counts the slots that are in use, and gives out the next ones."""
        before, self.current = self.current, desk
        if before is not desk:
            desk.adopt(before.hand_over())
            before.send_away()


def _again(first: Ask, waited: float, cold: float) -> Ask:
    """What is asked at the next desk after so many seconds, `cold` of them without any worker."""
    patience = first.patience if first.patience is None else max(0.0, first.patience - (waited - cold))
    return replace(first, waited=first.waited + waited, patience=patience)
