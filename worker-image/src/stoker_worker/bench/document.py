"""The result for programs: one JSON object with a version, and everything that a comparison needs."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stoker_contracts.pipelines import Pipeline

VERSION: Literal[1] = 1
RAW_AT_MOST = 10_000
"""Raw latencies that are kept; of more, as many at equal distances."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Spread(_Part):
    """Milliseconds of many events. A percentile is the smallest value that so many percent of all do not exceed."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    min: float
    max: float


class Stage(_Part):
    """One stage of the jobs, in milliseconds; without `spread` where nothing but its mean is known."""

    count: int
    mean: float
    spread: Spread | None = None


class Target(_Part):
    """What was measured, and where."""

    place: Literal["in-process", "worker", "orchestrator"]
    pipeline: Pipeline
    model_id: str
    engine: str = ""
    devices: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    lossy: tuple[str, ...] = Field(default=(), description="Switches in force that may change pictures.")
    versions: dict[str, str] = {}


class JobKind(_Part):
    """One kind of job: its share, and what was said of it."""

    name: str
    weight: float
    fields: dict[str, Any]


class Settings(_Part):
    """How it was measured."""

    loop: Literal["closed", "open"]
    runs: int | None
    duration: float | None = Field(description="Seconds.")
    concurrency: int
    rate: float | None = Field(description="Jobs a second that were due.")
    arrivals: str | None
    batch_size: int
    warmup: int
    seed: int
    timeout: float = Field(description="Seconds for a job.")
    jobs: tuple[JobKind, ...]


class ModelLoad(_Part):
    """How long the model took to load, and its stages, in seconds."""

    seconds: float
    stages: dict[str, float] = {}


class Held(_Part):
    """Bytes of memory in use, and bytes taken for it: torch keeps what it has freed."""

    allocated: int
    reserved: int


class Memory(_Part):
    """Memory after the load and at most since then.

    `of` says what was asked: `cuda` torch's allocator, `process` the resident memory of this process, `device` what is taken on
    the worker's card, by all its users, before and after the jobs.
    """

    of: Literal["cuda", "process", "device"]
    loaded: Held
    peak: Held


class ErrorCount(_Part):
    """Failures of one kind; the example has the words of the first."""

    kind: str
    count: int
    example: str


class Pace(_Part):
    """A piece of the run: pictures that came in it, and the seconds that it took."""

    pictures: int
    seconds: float


class WarmUp(_Part):
    """The jobs that were sent first and are in no other figure."""

    milliseconds: tuple[float, ...] = ()
    failed: int = 0
    cold_starts: int = 0


class Counts(_Part):
    """Jobs by how they ended; abandoned ones were under way at Ctrl-C."""

    done: int
    failed: int
    abandoned: int = 0


class Figures(_Part):
    """What the samples say. Latencies are of the jobs that were done, in milliseconds, and count from when a job was due."""

    seconds: float = Field(description="From the start to the last answer.")
    counts: Counts
    pictures: int
    jobs_per_second: float
    pictures_per_second: float
    latency: Spread | None
    late: Spread | None = Field(description="Open loop: how long after they were due jobs were sent.")
    queue: Spread | None = Field(description="What the answers' header says of waiting.")
    stages: dict[str, Stage]
    rows_per_batch: float | None = Field(default=None, description="Pictures or videos that a worker made in one batch.")
    by_kind: dict[str, Spread]
    cold_starts: int
    errors: tuple[ErrorCount, ...]
    pace: tuple[Pace, ...]
    latencies: tuple[float, ...] = Field(description=f"Raw, in the order of the answers; {RAW_AT_MOST} at most.")


class Result(_Part):
    """What ``stoker-bench run --json`` writes."""

    version: Literal[1] = VERSION
    tool: Literal["stoker-bench"] = "stoker-bench"
    tool_version: str
    made: datetime
    interrupted: bool = False
    target: Target
    settings: Settings
    load: ModelLoad | None = None
    memory: Memory | None = None
    warmup: WarmUp = WarmUp()
    figures: Figures
