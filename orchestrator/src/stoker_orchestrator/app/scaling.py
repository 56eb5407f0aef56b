"""Lets the scaling machine look again and again, and carries out what it says; what was begun outlives the caller who caused it."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from stoker_contracts.resources.scaling import MAX_DECISIONS, ScalingDecision, ScalingReason
from stoker_orchestrator.adapters.fleets.port import Fleet, FleetError
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.domain.placement import Wait
from stoker_orchestrator.domain.retirement import Rank, Retired, Revived
from stoker_orchestrator.domain.scaling import Changed, Decided, Effect, Scale, Scaling

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class Scaler:
    """One scaling machine over one fleet. `changed` is called with a model's name when its line is to be looked at."""

    def __init__(
        self, scaling: Scaling, fleet: Fleet, metrics: Metrics, leading: Callable[[], bool], changed: Callable[[str], None]
    ) -> None:
        self._scaling = scaling
        self._fleet = fleet
        self._metrics = metrics
        self._leading = leading
        self._changed = changed
        self._woken = asyncio.Event()
        self._decisions: dict[str, deque[ScalingDecision]] = defaultdict(lambda: deque(maxlen=MAX_DECISIONS))
        self._calls: dict[tuple[str, str], asyncio.Task[None]] = {}

    def wake(self, model: str) -> None:
        """A job came for a model that has no worker; looked at at once."""
        self._scaling.woken(model, time.monotonic())
        self._woken.set()

    def decisions(self, model: str) -> tuple[ScalingDecision, ...]:
        """The last decisions about a model, the newest last."""
        return tuple(self._decisions.get(model, ()))

    def forget(self, model: str) -> None:
        """The model is no longer offered; one that is made anew under its name has no past."""
        self._decisions.pop(model, None)

    @property
    def waits(self) -> Mapping[str, Wait]:
        """Who waits for whom, by the name of the model that waits."""
        return self._scaling.waits

    def rouse(self) -> None:
        """Who leads has changed; looked at at once."""
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):  # wait_for of Python 3.11 loses a cancellation that comes with the event
                    await self._woken.wait()
            self._woken.clear()
            self._carry_out(self._scaling.look(time.monotonic(), leading=self._leading()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Scale(model):
                    self._begin(("scale", model), self._scale(effect))
                case Rank(_, endpoint):
                    self._begin(("rank", endpoint), self._rank(effect))
                case Decided():
                    self._decide(effect)
                case Changed(model):
                    self._changed(model)
                case Retired(model, endpoint, reason):
                    self._metrics.decisions.labels("retire", reason, model).inc()
                    log.info("%s is to go (%s)", endpoint, reason)
                case Revived(model, endpoint, reason):
                    self._metrics.decisions.labels("revive", reason, model).inc()
                    log.info("%s stays (%s)", endpoint, reason)

    def _begin(self, key: tuple[str, str], call: Coroutine[Any, Any, None]) -> None:
        """One call of a kind at a time; the machine asks again for what was left out."""
        if key in self._calls:
            call.close()
        else:
            self._calls[key] = asyncio.create_task(self._finish(key, call))

    async def _finish(self, key: tuple[str, str], call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
        finally:
            del self._calls[key]

    async def _scale(self, effect: Scale) -> None:
        try:
            await self._fleet.scale(effect.model, effect.replicas, expected=effect.expected)
        except FleetError as error:
            log.warning("%s could not be scaled to %d, will be tried again: %s", effect.model, effect.replicas, error)
            self._carry_out(self._scaling.failed(effect))
        else:
            if effect.reason is ScalingReason.WAKE:
                self._metrics.wakes.labels(effect.model).inc()
            self._carry_out(self._scaling.done(effect))

    async def _rank(self, effect: Rank) -> None:
        try:
            await self._fleet.rank(effect.endpoint, effect.cost)
        except FleetError as error:
            log.warning("what ending %s costs could not be told, will be tried again: %s", effect.endpoint, error)
        else:
            self._scaling.done(effect)

    def _decide(self, made: Decided) -> None:
        """Count, log and show one decision."""
        swap = made.reason in (ScalingReason.MAKE_ROOM, ScalingReason.WAITS_FOR_ROOM)
        self._metrics.decisions.labels("swap" if swap else "scale", made.reason, made.model).inc()
        log.info("%s: from %d to %d workers (%s): %s", made.model, made.before, made.after, made.reason, made.message)
        decision = ScalingDecision(
            time=datetime.now(UTC), before=made.before, after=made.after, reason=made.reason, message=made.message[:512]
        )
        self._decisions[made.model].append(decision)
        self._begin(("explain", made.model), self._explain(made.model))

    async def _explain(self, model: str) -> None:
        """Show the decisions, those too that are made meanwhile."""
        shown: tuple[ScalingDecision, ...] = ()
        try:
            while (made := self.decisions(model)) != shown:
                shown = made
                await self._fleet.explain(model, list(shown))
        except FleetError as error:
            log.warning("the last decisions about %s could not be shown, the next one shows them too: %s", model, error)
