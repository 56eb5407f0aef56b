"""A model as the orchestrator knows it, and the endpoints that serve it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stoker_contracts.capabilities import Price
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.scaling import ScalingDecision
from stoker_orchestrator.domain.runner import Runner


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a model cannot be served: a reason for programs, a sentence for people.

    `of_room` tells that only a free device is lacking, so that another model may make room; waiting cures no other obstacle.
    """

    reason: str
    message: str
    of_room: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which bounds activity decides how many workers run. Times are in seconds."""

    least: int = 0
    most: int = 1
    idle_after: float = 600.0
    target_queue_seconds: float = 10.0
    drain_timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Url:
    """A container that somebody else runs, and the token that it asks for: by its key in the token Secret, or itself."""

    address: str
    """A URL with a base path; never told to callers."""
    capacity: int = 1
    key: str | None = None
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one pipeline. `name` is its resource's; times are in seconds."""

    name: str
    pipeline: Pipeline
    model_id: str
    warm: bool = False
    capacity: int = 1
    """Jobs that one new worker takes at once."""
    replicas: int = 0
    """Workers that are asked for now, whoever asked."""
    scaling: Bounds | None = Bounds()
    """None: somebody else decides how many workers run, or nobody can start one."""
    start_timeout: float = 600.0
    obstacle: Obstacle | None = None
    price: Price | None = None
    decisions: tuple[ScalingDecision, ...] = ()
    """The last ones about its workers that its resource shows, whoever made them; the newest last."""
    urls: tuple[Url, ...] = ()
    """The containers that serve it, where somebody else runs them."""
    health_seconds: float = 5.0
    """How often each of them is asked for its health."""
    told_down: frozenset[int] = frozenset()
    """Those of `urls`, by their places, that take no jobs as the orchestrator that leads tells."""

    @property
    def startable(self) -> bool:
        """Whether asking the fleet for a worker can bring one."""
        return self.scaling is not None and self.scaling.most > 0


class EndpointState(StrEnum):
    """What an endpoint can do now, as its fleet says."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Leaving(StrEnum):
    """Whether an endpoint is to go, as activity decides."""

    STAYS = "stays"
    RETIRING = "retiring"
    """It gets no new job while another can take it, and goes when it is idle; demand keeps it."""
    CONDEMNED = "condemned"
    """The fleet was asked to end it."""


@dataclass(slots=True)
class Endpoint:
    """Something that a job can be sent to. `work` is the declared cost of the jobs in flight.

    `since` is when it became what `state` says, `idle_since` when its last job ended, on the orchestrator's clock.
    """

    id: str
    model: str
    address: str
    """``host:port``, or a URL with a base path; empty while it has none. Never told to callers."""
    capacity: int = 1
    state: EndpointState = EndpointState.STARTING
    node: str = ""
    devices: Mapping[str, int] = field(default_factory=dict)
    """How many of which devices it holds, or waits for while it starts: ``{"nvidia.com/gpu": 1}``."""
    no_room: str = ""
    """The scheduler's words, where no node has what it needs."""
    pulse: bool = True
    """Whether it answers probes while it works; containers of others may not."""
    trouble: str = ""
    """Why it takes no jobs, in words without an address, where its fleet knows."""
    in_flight: int = 0
    work: float = 0.0
    pace: float = 1.0
    """How slow it is beside the other endpoints of its model: 2 takes twice as long."""
    since: float = 0.0
    idle_since: float = 0.0
    ahead: bool = False
    """It has said itself that it is ready, before its fleet did."""
    ejected: bool = False
    recovered: bool = False
    """It has answered since it last lost a job, and turned none away: a job that it lost may meet it once more."""
    leaving: Leaving = Leaving.STAYS
    runner: Runner | None = None
    """None until it was asked, after each time that it became ready."""

    @property
    def coming(self) -> bool:
        """Whether it takes jobs now, or will. One that drains may take as long as its longest job, and then it is gone."""
        return self.state is not EndpointState.DRAINING and self.leaving is not Leaving.CONDEMNED

    @property
    def serving(self) -> bool:
        """Whether it has the model loaded and may be given jobs."""
        ready = self.state is EndpointState.READY or (self.ahead and self.state is EndpointState.STARTING)
        return ready and not self.ejected and self.leaving is not Leaving.CONDEMNED

    @property
    def awaited(self) -> bool:
        """Whether it is asked for its readiness while jobs wait: a fleet may notice up to a second late."""
        return self.state is EndpointState.STARTING and self.pulse and bool(self.address) and not self.ahead

    @property
    def free(self) -> int:
        """Jobs that it takes on top of those it has."""
        return max(0, self.capacity - self.in_flight) if self.serving else 0
