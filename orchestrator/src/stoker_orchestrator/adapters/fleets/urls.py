"""Containers that somebody else runs, beside the workers of another fleet: their URLs are followed by their health.

Their models come from that other fleet; what is asked of workers goes through to it. An endpoint's id is made of its model's name
and its place in the list, so that it tells nobody where the container is.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from stoker_contracts.resources.conditions import Verdict
from stoker_contracts.resources.scaling import ScalingDecision
from stoker_orchestrator.adapters.fleets.port import Fleet, FleetError, Sink
from stoker_orchestrator.adapters.health import HealthCheck
from stoker_orchestrator.adapters.tokens import NoTokenError, Tokens
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, FleetEvent, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.health import UNSEEN, Health, Report, after, obstacle, refused, reports, sentence
from stoker_orchestrator.domain.model import Model, Url

log = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
"""What was shown is compared so often with what is so; a report that failed is tried again then."""
_LEAST_PAUSE_SECONDS = 0.2
"""Between two looks at a container that answers slowly."""
BARRED_SECONDS = 60.0
"""A container that refused a job's token gets no job for so long, unless the token is another one by then."""


@dataclass(slots=True, eq=False)
class _Place:
    """One URL of a model: how it is, and since when on the monotonic clock."""

    id: str
    url: Url
    since: float
    health: Health = UNSEEN
    task: asyncio.Task[None] | None = None
    look: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where it is to be looked at before its time."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has been looked at."""
    barred_until: float = 0.0
    barred_with: bytes | None = None
    """The token that it refused."""


@dataclass(slots=True)
class _Followed:
    """A model that somebody else's containers serve; `told` is what was last told of it."""

    model: Model
    places: list[_Place]
    told: Model | None = None


class UrlFleet:
    """Adds to the workers of `inner` the containers at the URLs of its models.

    `busy` tells whether a job of ours may run on an endpoint, `may_report` whether this orchestrator is the one that says in the
    resources how the containers are.
    """

    def __init__(
        self,
        inner: Fleet,
        tokens: Tokens,
        check: HealthCheck,
        busy: Callable[[str], bool],
        may_report: Callable[[], bool] = lambda: True,
    ) -> None:
        self._inner = inner
        self._tokens = tokens
        self._check = check
        self._busy = busy
        self._may_report = may_report
        self._sink: Sink = _nowhere
        self._followed: dict[str, _Followed] = {}
        self._places: dict[str, _Place] = {}
        self._group = asyncio.TaskGroup()
        self._unreported: set[str] = set()
        self._changed = asyncio.Event()

    async def run(self, sink: Sink) -> None:
        """Follow the other fleet, and the containers of its models, until cancelled."""
        self._sink = sink
        try:
            async with self._group as group:
                group.create_task(self._inner.run(self._take))
                group.create_task(self._keep_reported())
        finally:
            await self._check.close()

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        """The other fleet's; nobody here can start a container."""
        await self._inner.scale(model, replicas, expected=expected)

    async def rank(self, endpoint: str, cost: int) -> None:
        """The other fleet's."""
        await self._inner.rank(endpoint, cost)

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """The other fleet's."""
        await self._inner.advertise(model, verdict)

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        """The other fleet's."""
        await self._inner.explain(model, decisions)

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        """The other fleet's."""
        await self._inner.report(model, endpoints)

    def authorization(self, endpoint: str) -> bytes | None:
        """The value of the header Authorization for a job to this endpoint, as its token is now; None where it gets none."""
        place = self._places.get(endpoint)
        return self._token(place) if place is not None else None

    def barred(self, endpoint: str, status: int) -> None:
        """A container did not let a job in, well as it may call itself: it gets none for a while, or until the key is changed."""
        for followed in self._followed.values():
            for place in followed.places:
                if place.id == endpoint:
                    place.barred_until = time.monotonic() + BARRED_SECONDS
                    place.barred_with = self._token(place)
                    self._settle(followed, place, refused(status, place.url))

    def _token(self, place: _Place) -> bytes | None:
        try:
            return self._tokens.authorization(place.url)
        except NoTokenError:
            return None

    def _take(self, event: FleetEvent) -> None:
        match event:
            case ModelSeen(model) if model.urls or model.name in self._followed:
                self._see(model)
            case ModelGone(name):
                self._forget(name, ())
                self._sink(event)
            case Synced() if self._unseen:
                self._group.create_task(self._sync())
            case ModelSeen(model):
                self._sink(event)
                self._report(model.name)
            case _:
                self._sink(event)

    @property
    def _unseen(self) -> list[_Place]:
        return [place for followed in self._followed.values() for place in followed.places if not place.seen.is_set()]

    async def _sync(self) -> None:
        """That everything was told is told once each container has been looked at."""
        for place in self._unseen:
            await place.seen.wait()
        self._sink(Synced())

    def _see(self, model: Model) -> None:
        """A model is there or has changed. A container that is named as before stays what it is."""
        known = self._followed.get(model.name)
        before = known.places if known is not None else []
        places = [self._place(model, index, before) for index in range(len(model.urls))]
        self._forget(model.name, places)
        if not places:
            self._sink(ModelSeen(model))
            return
        followed = self._followed[model.name] = _Followed(model, places)
        self._index()
        self._tell_model(followed)
        for place in places:
            self._tell(followed, place)
            if place.task is None:
                place.task = self._group.create_task(self._watch(model.name, place))

    def _place(self, model: Model, index: int, before: Sequence[_Place]) -> _Place:
        url = model.urls[index]
        known = before[index] if index < len(before) else None
        if known is None or known.url.address != url.address:
            return _Place(f"{model.name}-url-{index}", url, time.monotonic())
        if (known.url.key, known.url.token) != (url.key, url.token):
            known.look.set()
        known.url = url
        return known

    def _forget(self, name: str, kept: Sequence[_Place]) -> None:
        """The containers of a model that are not kept are endpoints no more."""
        known = self._followed.pop(name, None)
        for place in known.places if known is not None else ():
            if place in kept:
                continue
            if place.task is not None:
                place.task.cancel()
            place.seen.set()
            self._sink(EndpointGone(place.id))
        if known is not None:
            self._index()
            self._report(name)

    def _index(self) -> None:
        self._places = {place.id: place for followed in self._followed.values() for place in followed.places}

    async def _watch(self, name: str, place: _Place) -> None:
        """Look at a container for ever, at equal intervals as far as its answers come in time."""
        while True:
            began = time.monotonic()
            place.look.clear()
            busy = self._may_work(name, place)
            found = await self._check.look(place.url)
            followed = self._followed[name]
            if not self._is_barred(place):
                self._settle(followed, place, after(place.health, found, busy=busy or self._may_work(name, place)))
            place.seen.set()
            pause = max(_LEAST_PAUSE_SECONDS, began + followed.model.health_seconds - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await place.look.wait()

    def _may_work(self, name: str, place: _Place) -> bool:
        """Whether silence may be work. Who does not lead cannot know it, and believes who does."""
        followed = self._followed[name]
        if not self._may_report() and followed.places.index(place) in followed.model.told_down:
            return False
        return self._busy(place.id)

    def _is_barred(self, place: _Place) -> bool:
        barred = time.monotonic() < place.barred_until
        return barred and self._token(place) == place.barred_with

    def _settle(self, followed: _Followed, place: _Place, health: Health) -> None:
        """A container is so from now on; what that changes is told."""
        if health != place.health:
            if health.phase is not place.health.phase:
                place.since = time.monotonic()
            place.health = health
            index = followed.places.index(place)
            words = sentence(index, len(followed.places), health)
            log.info("%s: %s", followed.model.name, words or f"endpoint {index + 1} of {len(followed.places)} takes jobs")
            self._tell(followed, place)
        self._tell_model(followed)

    def _tell(self, followed: _Followed, place: _Place) -> None:
        words = sentence(followed.places.index(place), len(followed.places), place.health)
        state, url = place.health.state, place.url
        self._sink(EndpointSeen(place.id, followed.model.name, url.address, url.capacity, state, pulse=False, trouble=words))
        self._report(followed.model.name)

    def _tell_model(self, followed: _Followed) -> None:
        """The model, with what keeps all its containers from serving."""
        model, places = followed.model, followed.places
        since = [place.since for place in places]
        hopeless = obstacle([place.health for place in places], since, time.monotonic(), model.start_timeout)
        told = replace(model, obstacle=model.obstacle or hopeless)
        if told != followed.told:
            followed.told = told
            self._sink(ModelSeen(told))

    def _report(self, name: str) -> None:
        self._unreported.add(name)
        self._changed.set()

    async def _keep_reported(self) -> None:
        """Show how the containers are where their owner looks, soon after a change and now and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            if self._may_report():
                for name in self._unreported | self._followed.keys():
                    await self._report_one(name)

    async def _report_one(self, name: str) -> None:
        followed = self._followed.get(name)
        told = reports([place.health for place in followed.places]) if followed is not None else ()
        try:
            await self._inner.report(name, told)
            self._unreported.discard(name)
        except FleetError as error:
            log.warning("how the endpoints of %s are could not be shown, will be tried again: %s", name, error)


def _nowhere(event: FleetEvent) -> None:
    """Nobody follows this fleet yet."""
