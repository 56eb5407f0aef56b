"""How many workers run: what activity wants and who makes room, carried out in steps that lose no job.

It changes nothing by itself: `look` says what the fleet is to be asked, and is told what came of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stoker_contracts.resources.scaling import ScalingReason
from stoker_orchestrator.domain.autoscaler import RESIDENCY_SECONDS, Autoscaler, Demand, Wish, effective
from stoker_orchestrator.domain.model import Bounds, Endpoint, EndpointState, Leaving, Model
from stoker_orchestrator.domain.placement import Placement, Wait
from stoker_orchestrator.domain.retirement import Rank, Retired, Retirement, Revived
from stoker_orchestrator.domain.switchboard import Switchboard

ASK_AGAIN_SECONDS = 2.0
"""What was asked without effect is asked again after so long."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Ask the fleet for `replicas` workers of a model, provided that `expected` are asked for until then."""

    model: str
    expected: int
    replicas: int
    reason: ScalingReason
    message: str


@dataclass(frozen=True, slots=True)
class Decided:
    """To be shown where the model's owner looks."""

    model: str
    before: int
    after: int
    reason: ScalingReason
    message: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Endpoints of a model take jobs again, or the model can be served no more: who waits for it is to be looked at."""

    model: str


Effect = Scale | Rank | Retired | Revived | Decided | Changed


@dataclass(slots=True)
class _Asked:
    """What the fleet was asked for last, and whether it could do it."""

    replicas: int
    at: float
    failed: bool = False


class Scaling:
    """The machine over all models of one switchboard."""

    def __init__(self, switchboard: Switchboard, now: float, residency: float = RESIDENCY_SECONDS) -> None:
        self._switchboard = switchboard
        self._registry = switchboard.registry
        self._autoscaler = Autoscaler(now, residency)
        self._placement = Placement(self._registry, switchboard.waiting, residency)
        self._retirement = Retirement()
        self._asked: dict[str, _Asked] = {}
        self._shown: dict[str, str] = {}
        self._leading = True

    @property
    def waits(self) -> Mapping[str, Wait]:
        """Who waits for whom, by the name of the model that waits; nobody where another orchestrator decides."""
        return self._placement.waits if self._leading else {}

    def woken(self, name: str, now: float) -> None:
        """A job came for a model that has no worker."""
        self._autoscaler.woken(name, now)

    def look(self, now: float, *, leading: bool = True) -> list[Effect]:
        """Time has passed, or something happened. Who does not lead only remembers; who cannot see keeps the scale."""
        self._remember(now)
        if not leading:
            return self._stand_aside()
        if not self._leading:
            self._leading = True
            self._autoscaler.begin(now)
        if not self._registry.synced or self._registry.blind_since is not None or self._switchboard.paused:
            return []
        roomless = self._registry.roomless
        self._placement.look(now)
        effects: list[Effect] = [Changed(name) for name in sorted(self._registry.roomless - roomless)]
        effects += self._tell_waits()
        for model in self._registry.models:
            if model.scaling is not None:
                effects += self._steer(model, model.scaling, now)
        return effects

    def done(self, effect: Scale | Rank) -> list[Effect]:
        """The fleet did what it was asked."""
        if isinstance(effect, Rank):
            self._retirement.ranked(effect)
            return []
        if self._registry.model(effect.model) is None:  # it went meanwhile, and nobody wants to know what was decided about it
            return []
        return [Decided(effect.model, effect.expected, effect.replicas, effect.reason, effect.message)]

    def failed(self, effect: Scale | Rank) -> list[Effect]:
        """The fleet could not do what it was asked: who was to go stays, until it is asked again."""
        asked = self._asked.get(effect.model)
        if isinstance(effect, Rank) or asked is None or asked.replicas != effect.replicas:
            return []
        asked.failed = True
        return self._revive(_condemned(self._registry.endpoints_of(effect.model)), "Failed")

    def _remember(self, now: float) -> None:
        models = self._registry.models
        for model in models:
            self._autoscaler.note(model, self._demand(model), now)
        names = {model.name for model in models}
        self._autoscaler.forget(names)
        self._retirement.forget(self._registry.identities)
        self._asked = {name: asked for name, asked in self._asked.items() if name in names}

    def _stand_aside(self) -> list[Effect]:
        """Another orchestrator decides: what was begun here is not finished."""
        if not self._leading:
            return []
        self._leading = False
        self._asked.clear()
        self._registry.roomless = set()
        return self._revive(self._registry.endpoints, "Leader")

    def _demand(self, model: Model) -> Demand:
        rates = self._registry.rates
        seconds = rates.seconds(model.name, self._switchboard.work(model.name)) if rates.known(model.name) else None
        return Demand(self._switchboard.waiting(model.name), seconds, self._registry.endpoints_of(model.name))

    def _steer(self, model: Model, bounds: Bounds, now: float) -> list[Effect]:
        """One step for one model."""
        standing = [each for each in self._registry.endpoints_of(model.name) if each.state is not EndpointState.DRAINING]
        effects: list[Effect] = list(self._retirement.called_back(standing))
        asking = self._still_asking(model, now)
        effects += self._revive(self._spared(model, standing, asking=asking), "Demand")
        if not asking:
            staying = [each for each in standing if each.leaving is not Leaving.CONDEMNED]
            effects += self._follow(model, bounds, staying, now)
        return effects + list(self._retirement.rank(standing, now))

    def _follow(self, model: Model, bounds: Bounds, standing: list[Endpoint], now: float) -> list[Effect]:
        """Towards what is wanted."""
        wish = self._autoscaler.want(model, self._demand(model), now)
        gives = self._placement.gives(model.name) if wish is None or wish.replicas < effective(model) else None
        if gives is not None:
            waiter, going = gives
            going |= {each.id for each in standing if each.state is EndpointState.STARTING}  # a ReplicaSet ends those first
            left = max(bounds.least, min(len(standing), effective(model)) - len(going))
            words = f"{waiter} is asked for and no device is free"
            return self._leave(model, bounds, Wish(left, ScalingReason.MAKE_ROOM, words), standing, now, going)
        if wish is None or wish.replicas >= effective(model):
            effects = self._revive([each for each in standing if each.leaving is Leaving.RETIRING], "Demand")
            return effects if wish is None else effects + self._ask(model, wish.replicas, wish, now)
        return self._leave(model, bounds, wish, standing, now)

    def _leave(
        self, model: Model, bounds: Bounds, wish: Wish, standing: list[Endpoint], now: float, only: frozenset[str] | None = None
    ) -> list[Effect]:
        """One of the two phases in which workers go."""
        there = min(len(standing), effective(model))
        if there <= wish.replicas and only is None:
            return self._ask(model, wish.replicas, wish, now)
        going = self._retirement.choose(standing, there - wish.replicas, only)
        staying = [each for each in standing if each.leaving is Leaving.RETIRING and each not in going]
        effects = self._revive(staying, "Demand")
        effects += self._retirement.retire(going, wish.reason, now)
        if going and self._retirement.over(going, bounds.drain_timeout, now):
            for each in going:
                each.leaving = Leaving.CONDEMNED
            effects += self._ask(model, there - len(going), wish, now)
        return effects

    def _ask(self, model: Model, replicas: int, wish: Wish, now: float) -> list[Effect]:
        self._asked[model.name] = _Asked(replicas, now)
        if replicas > model.replicas:
            self._autoscaler.raised(model.name, now)  # what seems to have failed may have been carried out
        return [Scale(model.name, model.replicas, replicas, wish.reason, wish.message)]

    def _still_asking(self, model: Model, now: float) -> bool:
        """Whether what was asked may still have its effect. What had none for too long counts as not asked."""
        asked = self._asked.get(model.name)
        if asked is None:
            return False
        if asked.replicas != model.replicas and now - asked.at < ASK_AGAIN_SECONDS:
            return True
        del self._asked[model.name]
        return False

    def _spared(self, model: Model, standing: list[Endpoint], *, asking: bool) -> list[Endpoint]:
        """The condemned that need not go: so many workers are asked for that there is a place for them."""
        asked = self._asked.get(model.name)
        wanted = asked.replicas if asking and asked is not None and not asked.failed else effective(model)
        return _condemned(standing)[max(0, len(standing) - wanted) :]

    def _revive(self, staying: Collection[Endpoint], reason: str) -> list[Effect]:
        revived = self._retirement.revive(staying, reason)
        return [*revived, *(Changed(name) for name in dict.fromkeys(each.model for each in revived))]

    def _tell_waits(self) -> list[Effect]:
        """Who waits for whom, told once."""
        effects: list[Effect] = []
        waits = self._placement.waits
        self._shown = {name: message for name, message in self._shown.items() if name in waits}
        for name, wait in sorted(waits.items()):
            model = self._registry.model(name)
            if model is not None and self._shown.get(name) != wait.message:
                self._shown[name] = wait.message
                count = effective(model)
                effects.append(Decided(name, count, count, ScalingReason.WAITS_FOR_ROOM, wait.message))
        return effects


def _condemned(endpoints: Collection[Endpoint]) -> list[Endpoint]:
    """Those that the fleet was asked to end, and that have not begun to."""
    return [each for each in endpoints if each.leaving is Leaving.CONDEMNED and each.state is not EndpointState.DRAINING]
