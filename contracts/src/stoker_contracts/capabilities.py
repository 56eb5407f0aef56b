"""The capability document: which models an orchestrator offers now, and which are warm."""

from pydantic import BaseModel, ConfigDict, Field

from stoker_contracts.pipelines import Pipeline


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Price(_Wire):
    """What one unit costs."""

    per_unit: str = Field(description="A decimal string.")
    unit: str = Field(description="`pixel`, `millisecond` or `request`.")
    currency: str


class Hardware(_Wire):
    """One accelerator of a worker; sizes in bytes."""

    name: str
    memory_total: int
    memory_free: int


class ModelOffer(_Wire):
    """One model of one pipeline, as advertised."""

    model_id: str
    warm: bool = Field(description="At least one worker has it loaded and takes jobs.")
    capacity: int = Field(description="Jobs that all its ready workers take at once.")
    capacity_in_use: int = Field(description="Jobs in flight on them now.")
    estimated_wait_ms: int = Field(description="What a job sent now waits before it starts, as far as known.")
    price: Price | None = None
    runner_version: str = ""
    hardware: tuple[Hardware, ...] = ()


class Capability(_Wire):
    """All models of one pipeline."""

    pipeline: Pipeline
    capability: int = Field(description="Livepeer's number of the pipeline.")
    models: tuple[ModelOffer, ...]


class Capabilities(_Wire):
    """`GET /capabilities`. `generation` grows by one with each change."""

    version: int = 1
    orchestrator: str
    generation: int
    capabilities: tuple[Capability, ...]
