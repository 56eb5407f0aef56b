"""What an orchestrator knows at one moment, for people: models, their workers, and who waits.

No address, no caller and no prompt is in it. Times are in seconds where the name says nothing else.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.scaling import ScalingDecision


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class ModelState(StrEnum):
    """What becomes of a job that is sent to a model now."""

    SERVING = "serving"
    """A worker has the model loaded and takes it, at once or when a slot is free."""
    STARTING = "starting"
    """It waits for a worker that is on its way."""
    COLD = "cold"
    """It starts a worker and waits for it."""
    WAITS = "waits"
    """It waits for room: no device is free, and another model may make room."""
    UNAVAILABLE = "unavailable"
    """It is refused: there is an obstacle that waiting does not cure."""
    STOPPED = "stopped"
    """It is refused: no worker runs, and none may be started."""


class WorkerState(StrEnum):
    """What a worker can do now."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """It finishes its jobs and gets no new one."""
    LEAVING = "leaving"
    """It goes as soon as it is idle; until then it gets jobs that no other worker can take."""
    EJECTED = "ejected"
    """It failed and gets no jobs until it answers a probe."""


class WorkerOverview(_Wire):
    """One worker."""

    id: str = Field(description="A pod's name, or what its fleet calls it.")
    node: str = Field(description="Where it runs; empty where that is not known.")
    device: str = Field(description="What it computes on; empty where that is not known.")
    state: WorkerState
    message: str = Field(description="Why it takes no jobs, for people; empty where the state says all, or where it does.")
    in_flight: int = Field(description="Jobs that it has now.")
    capacity: int = Field(description="Jobs that it takes at once.")
    work_seconds: float | None = Field(
        description="How long the declared work of the jobs that it has takes, counted from their start; null before the first job."
    )
    ms_per_unit: float | None = Field(
        description="Milliseconds that it takes for one unit of declared cost (a step of a megapixel); null before the first job."
    )


class LineOverview(_Wire):
    """Who waits for a model."""

    waiting: int = Field(description="Jobs in line.")
    callers: int = Field(description="How many callers they are of.")
    work_seconds: float | None = Field(
        description="How long one worker takes for the declared work in line; null before the first job."
    )
    oldest_seconds: float = Field(description="How long the job waits that waits longest.")
    estimated_wait_ms: int = Field(description="What a job sent now waits before it starts, in milliseconds, as far as known.")


class ModelOverview(_Wire):
    """One model of one pipeline."""

    name: str = Field(description="Its resource's name.")
    pipeline: Pipeline
    model_id: str
    warm: bool = Field(description="Whether it is meant to be loaded at all times.")
    replicas: int = Field(description="Workers that are asked for, whoever asked.")
    min_replicas: int | None = Field(description="The fewest that activity asks for; null where activity does not decide.")
    max_replicas: int | None = Field(description="The most that activity asks for; null where activity does not decide.")
    state: ModelState
    reason: str = Field(description="Why it is in this state, for programs; empty where the state says all.")
    message: str = Field(description="Why it is in this state, for people; empty where the state says all.")
    waits_for: tuple[str, ...] = Field(description="The models that make room for it, or may; empty where it waits for none.")
    workers: tuple[WorkerOverview, ...] = Field(description="In the order in which they came.")
    line: LineOverview
    decisions: tuple[ScalingDecision, ...] = Field(
        description="The last ones about the number of its workers, whichever orchestrator made them; the newest last."
    )


class OrchestratorOverview(_Wire):
    """Whose view it is."""

    name: str
    version: str
    leading: bool = Field(description="Whether it gives out the slots and decides how many workers run; one without others does.")
    synced: bool = Field(description="Whether it has seen the first full list of models and workers.")
    blind_seconds: float | None = Field(
        description="For how long it has not seen its workers, as when the API server is away; null while it does."
    )


class Overview(_Wire):
    """`GET /status`. `version` is of this document; it grows where a reader of the old one would go wrong."""

    version: int = 1
    orchestrator: OrchestratorOverview
    models: tuple[ModelOverview, ...] = Field(description="By name.")
