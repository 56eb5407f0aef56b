"""Which idle model makes room when no device is free for a cold one that is asked for.

The least recently used one goes first. Nobody goes who has been loaded for less than the residency, so that two models that take
turns on one device reload at most once in that time.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from stoker_orchestrator.domain.autoscaler import RESIDENCY_SECONDS, effective
from stoker_orchestrator.domain.model import Endpoint, EndpointState, Model
from stoker_orchestrator.domain.registry import Registry

_BIND_SECONDS = 10.0
"""What the scheduler may take to give a device that became free to who waits for it; it retries after so long at the latest."""
_SURE_SECONDS = 2.0
"""Only what lasts so long is believed to be without a way out: a device may be free and not yet given out."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Who waits for room, the devices in words, and who makes it. `now` tells that those are leaving, not just may later."""

    model: str
    devices: str
    others: tuple[str, ...]
    now: bool

    @property
    def message(self) -> str:
        """For people."""
        names = " and ".join(self.others)
        if not self.others:
            return f"no {self.devices} is free; one is about to be"
        if self.now:
            return f"no {self.devices} is free; {names} {'makes' if len(self.others) == 1 else 'make'} room"
        return f"no {self.devices} is free; {names} can make room when idle and loaded for long enough"


@dataclass(slots=True)
class _Room:
    """The endpoints that go for one model, and since when they are gone."""

    endpoints: tuple[Endpoint, ...]
    free_since: float | None = None

    @property
    def donors(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(endpoint.model for endpoint in self.endpoints))


class Placement:
    """Remembers who makes room for whom until it is done."""

    def __init__(self, registry: Registry, waiting: Callable[[str], int], residency: float = RESIDENCY_SECONDS) -> None:
        self._registry = registry
        self._waiting = waiting
        self._residency = residency
        self._rooms: dict[str, _Room] = {}
        self._short: dict[str, float] = {}
        self.waits: dict[str, Wait] = {}
        """Who waits for whom now."""

    def look(self, now: float) -> None:
        """Find room for all that wait for it; `waits`, `gives` and the registry's `roomless` say what came of it."""
        lacking = {model.name: each for model in self._registry.models if (each := self._lacking(model.name)) is not None}
        wanted = [model for model in self._registry.models if model.name in lacking and self._wanted(model)]
        names = {model.name for model in wanted}
        self._rooms = {name: room for name, room in self._rooms.items() if name in names and self._holds(room, now)}
        for model in wanted:
            if model.name not in self._rooms:
                found = self._choose(lacking[model.name].devices, self._candidates(set(lacking), now))
                if found:
                    self._rooms[model.name] = _Room(found)
        later = {name: self._later(name, each.devices) for name, each in lacking.items() if name not in self._rooms}
        self._short = {name: self._short.get(name, now) for name, others in later.items() if others is None}
        self._registry.roomless = {name for name, since in self._short.items() if now - since >= _SURE_SECONDS}
        self.waits = {name: self._wait(name, lacking[name], later) for name in names if name not in self._short}

    def _wait(self, name: str, lacking: Endpoint, later: Mapping[str, tuple[str, ...] | None]) -> Wait:
        room = self._rooms.get(name)
        others = room.donors if room is not None else later[name] or ()
        return Wait(name, ", ".join(sorted(lacking.devices)), others, now=room is not None)

    def gives(self, name: str) -> tuple[str, frozenset[str]] | None:
        """For whom a model makes room, and the ids of the endpoints that go; None where it keeps all."""
        for waiter, room in self._rooms.items():
            mine = frozenset(endpoint.id for endpoint in room.endpoints if endpoint.model == name)
            if mine and room.free_since is None:
                return waiter, mine
        return None

    def _wanted(self, model: Model) -> bool:
        return self._waiting(model.name) > 0 or (model.scaling is not None and model.scaling.least > 0)

    def _lacking(self, name: str) -> Endpoint | None:
        """The worker of a cold model that finds no device."""
        if self._registry.is_warm(name):
            return None
        found = (each for each in self._registry.endpoints_of(name) if each.no_room and each.coming and each.devices)
        return next(found, None)

    def _holds(self, room: _Room, now: float) -> bool:
        """Whether the plan still stands: nobody called its donors, and what became free may yet be given out."""
        here = [each for each in room.endpoints if self._registry.endpoint(each.id) is each]
        if here:
            return all(not each.coming or self._able(each.model) for each in here)
        room.free_since = now if room.free_since is None else room.free_since
        return now - room.free_since < _BIND_SECONDS

    def _able(self, name: str) -> bool:
        """Whether a model has nothing to do and more workers than it must have."""
        model = self._registry.model(name)
        bounds = model.scaling if model is not None else None
        idle = self._waiting(name) == 0 and self._registry.in_flight(name) == 0
        return model is not None and bounds is not None and idle and effective(model) > bounds.least

    def _candidates(self, lacking: set[str], now: float) -> list[Endpoint]:
        """Endpoints that may go now, those of the least recently used model first."""
        leaving = [each for room in self._rooms.values() for each in room.endpoints]
        taken = {each.id for each in leaving}
        found: list[tuple[float, str, list[Endpoint]]] = []
        for model in self._registry.models:
            if model.name in lacking or not self._able(model.name):
                continue
            endpoints = [each for each in self._registry.endpoints_of(model.name) if each.id not in taken]
            used = max((each.idle_since for each in endpoints), default=-math.inf)
            resident = [each for each in endpoints if self._resident(each, now)]
            promised = sum(each.model == model.name and each.coming for each in leaving)
            found.append((used, model.name, resident[: max(0, self._spare(model) - promised)]))
        return [endpoint for _, _, endpoints in sorted(found, key=lambda each: each[:2]) for endpoint in endpoints]

    def _resident(self, endpoint: Endpoint, now: float) -> bool:
        return endpoint.state is EndpointState.READY and endpoint.serving and now - endpoint.since >= self._residency

    def _spare(self, model: Model) -> int:
        """Workers with a device above the least that is to run."""
        if model.scaling is None:
            return 0
        placed = sum(each.coming and not each.no_room for each in self._registry.endpoints_of(model.name))
        return max(0, min(placed, effective(model)) - model.scaling.least)

    def _choose(self, need: Mapping[str, int], candidates: list[Endpoint]) -> tuple[Endpoint, ...]:
        """The first that holds enough alone; else the first of one node that do together."""
        for endpoint in candidates:
            if _enough(need, [endpoint]):
                return (endpoint,)
        nodes: dict[str, list[Endpoint]] = defaultdict(list)
        for endpoint in candidates:
            if need.keys() & endpoint.devices.keys():
                nodes[endpoint.node].append(endpoint)
                if _enough(need, nodes[endpoint.node]):
                    return tuple(nodes[endpoint.node])
        return ()

    def _later(self, waiter: str, need: Mapping[str, int]) -> tuple[str, ...] | None:
        """The models that can make room some time; None where all together cannot. What ends already needs no name."""
        left = {model.name: self._spare(model) for model in self._registry.models if model.name != waiter}
        nodes: dict[str, list[Endpoint]] = defaultdict(list)
        for endpoint in self._registry.endpoints:
            if endpoint.no_room or not need.keys() & endpoint.devices.keys():
                continue
            if endpoint.coming:
                left[endpoint.model] = left.get(endpoint.model, 0) - 1
            if not endpoint.coming or left[endpoint.model] >= 0:
                nodes[endpoint.node].append(endpoint)
        for endpoints in nodes.values():
            if _enough(need, endpoints):
                return tuple(dict.fromkeys(each.model for each in endpoints if each.coming))
        return None


def _enough(need: Mapping[str, int], endpoints: Iterable[Endpoint]) -> bool:
    held: dict[str, int] = defaultdict(int)
    for endpoint in endpoints:
        for device, count in endpoint.devices.items():
            held[device] += count
    return all(held[device] >= count for device, count in need.items())
