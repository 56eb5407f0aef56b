"""How busy everything is: what a leader tells its followers, so that they show and know the same."""

from dataclasses import dataclass, field
from typing import Any

from stoker_orchestrator.domain.model import Endpoint, EndpointState, Leaving


@dataclass(frozen=True, slots=True)
class Crowd:
    """The line of a model: jobs, their declared cost, the callers they are from, and seconds that the oldest has waited."""

    waiting: int = 0
    work: float = 0.0
    callers: int = 0
    oldest: float = field(default=0.0, compare=False)


NOBODY = Crowd()


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """What is decided about an endpoint and what lies on it."""

    in_flight: int = 0
    work: float = 0.0
    pace: float = 1.0
    ejected: bool = False
    ahead: bool = False
    leaving: Leaving = Leaving.STAYS
    recovered: bool = False

    def show(self, endpoint: Endpoint, now: float) -> None:
        """Let the endpoint look as told. What is told anew was busy until now."""
        if endpoint_load(endpoint) != self:
            endpoint.idle_since = now
        endpoint.in_flight, endpoint.work, endpoint.pace = self.in_flight, self.work, self.pace
        endpoint.ejected, endpoint.leaving, endpoint.recovered = self.ejected, self.leaving, self.recovered
        endpoint.ahead = self.ahead and endpoint.state is EndpointState.STARTING


IDLE = EndpointLoad()


def endpoint_load(endpoint: Endpoint) -> EndpointLoad:
    """How busy an endpoint is."""
    lies = endpoint.in_flight, endpoint.work, endpoint.pace
    return EndpointLoad(*lies, endpoint.ejected, endpoint.ahead, endpoint.leaving, endpoint.recovered)


@dataclass(frozen=True, slots=True)
class Load:
    """Endpoints by id, those left out being idle; lines by model; calibration as `Rates` has it; models that find no room."""

    endpoints: dict[str, EndpointLoad] = field(default_factory=dict)
    lines: dict[str, Crowd] = field(default_factory=dict)
    rates: list[list[Any]] = field(default_factory=list)
    roomless: list[str] = field(default_factory=list)

    def show(self, endpoint: Endpoint | None, now: float) -> None:
        """Let an endpoint look as told."""
        if endpoint is not None:
            self.endpoints.get(endpoint.id, IDLE).show(endpoint, now)

    def wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "endpoints": {
                name: [load.in_flight, load.work, load.pace, load.ejected, load.ahead, load.leaving.value, load.recovered]
                for name, load in self.endpoints.items()
            },
            "lines": {name: [crowd.waiting, crowd.work, crowd.callers, crowd.oldest] for name, crowd in self.lines.items()},
            "rates": self.rates,
            "roomless": self.roomless,
        }

    @classmethod
    def read(cls, told: dict[str, Any]) -> "Load":
        """From JSON; the reverse of `wire`."""
        endpoints = {
            name: EndpointLoad(in_flight, work, pace, ejected, ahead, Leaving(leaving), *newer[:1])
            for name, (in_flight, work, pace, ejected, ahead, leaving, *newer) in told["endpoints"].items()
        }
        lines = {name: Crowd(*crowd[:4]) for name, crowd in told["lines"].items()}
        return cls(endpoints, lines, told["rates"], told["roomless"])
