"""A model as the orchestrator knows it, and the endpoints that serve it."""

from dataclasses import dataclass, field
from enum import StrEnum

from stoker_contracts.capabilities import Price
from stoker_contracts.pipelines import Pipeline


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a model cannot be served, and waiting will not help: a reason for programs, a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one pipeline. `name` is its resource's; times are in seconds."""

    name: str
    pipeline: Pipeline
    model_id: str
    warm: bool = False
    startable: bool = True
    """Whether asking the fleet for a worker can bring one."""
    start_timeout: float = 600.0
    obstacle: Obstacle | None = None
    price: Price | None = None


class EndpointState(StrEnum):
    """What an endpoint can do now."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True)
class Endpoint:
    """Something that a job can be sent to. `work` is the declared cost of the jobs in flight."""

    id: str
    model: str
    address: str
    """``host:port``; never told to callers."""
    capacity: int = 1
    state: EndpointState = EndpointState.STARTING
    in_flight: int = 0
    work: float = 0.0
    version: str = field(default="", compare=False)

    @property
    def coming(self) -> bool:
        """Whether it takes jobs now, or will. One that drains may take as long as its longest job, and then it is gone."""
        return self.state is not EndpointState.DRAINING

    @property
    def free(self) -> int:
        """Jobs that it takes on top of those it has."""
        return max(0, self.capacity - self.in_flight) if self.state is EndpointState.READY else 0
