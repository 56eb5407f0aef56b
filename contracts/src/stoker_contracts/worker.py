"""What a worker is told and what it tells: its environment variables and the bodies of its service routes.

The service routes are those of Livepeer's runner (ai-runner v0.14.1, ``runner/src/runner/routes``); ``/ready`` and
``/live`` are Stoker's.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

MAX_CAPACITY = 64
"""Most jobs that a worker takes at once."""


class Variable(StrEnum):
    """Environment variables of a worker; whoever starts one sets them."""

    PIPELINE = "PIPELINE"
    MODEL_ID = "MODEL_ID"
    MODEL_DIR = "MODEL_DIR"
    """Folder with the weights: the model's own, or one that holds it as ``<model id>/`` or in Hugging Face's cache layout."""
    ENGINE = "ENGINE"
    """``diffusers`` or ``stub``."""
    CAPACITY = "CAPACITY"
    """Jobs taken at once."""
    MAX_BATCH = "MAX_BATCH"
    """Pictures or videos that may be made in one batch."""
    STEP_TIMEOUT_SECONDS = "STEP_TIMEOUT_SECONDS"
    """How long a batch may make no progress. Who parks weights while a job waits has at least five minutes."""
    PARK_AFTER_SECONDS = "PARK_AFTER_SECONDS"
    """After how long without a job the weights leave the device; 0: never."""
    HOST = "HOST"
    PORT = "PORT"
    BODY_STALL_SECONDS = "BODY_STALL_SECONDS"
    """How long a body may bring no byte."""
    DRAIN_SECONDS = "DRAIN_SECONDS"
    """How long jobs in flight may go on after SIGTERM."""
    DEVICE = "DEVICE"
    """``auto``, ``cuda`` or ``cpu``."""
    GPU_MEMORY_BUDGET_BYTES = "GPU_MEMORY_BUDGET_BYTES"
    OPTIMIZATION = "OPTIMIZATION"
    """Comma list of switches, e.g. ``compile,bfloat16``."""
    COMPILE_CACHE_DIR = "COMPILE_CACHE_DIR"
    """Folder in which code that was compiled outlives the worker."""
    WARM_SHAPES = "WARM_SHAPES"
    """Comma list of ``WIDTHxHEIGHT`` or ``WIDTHxHEIGHTxROWS``: batches that are run before the first job."""
    AUTH_TOKEN = "AUTH_TOKEN"  # noqa: S105 - the variable's name
    TERMINATION_MESSAGE_PATH = "TERMINATION_MESSAGE_PATH"
    """Where the worker writes, in words, why it gave up; read by the operator from the pod's status."""
    STUB_SCRIPT = "STUB_SCRIPT"
    """JSON: how the stub engine behaves."""
    LOG_LEVEL = "LOG_LEVEL"
    STOKER_VERSION = "STOKER_VERSION"
    """What ``/version`` says; the image sets it."""
    WORKER_MAX_STEPS = "WORKER_MAX_STEPS"
    WORKER_MAX_PIXELS = "WORKER_MAX_PIXELS"
    """Of all images of a job together."""
    WORKER_MAX_IMAGES = "WORKER_MAX_IMAGES"


class ExitReason(StrEnum):
    """First word of a termination message, before a colon and the sentence: `WeightsMissing: no model_index.json in ...`."""

    WEIGHTS_MISSING = "WeightsMissing"
    LOAD_FAILED = "LoadFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    SETTINGS_INVALID = "SettingsInvalid"
    ENGINE_FAILED = "EngineFailed"


class HealthState(StrEnum):
    """What ``/health`` says."""

    OK = "OK"
    IDLE = "IDLE"
    LOADING = "LOADING"
    ERROR = "ERROR"


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Health(_Body):
    """`GET /health`."""

    status: HealthState


class Readiness(_Body):
    """`GET /ready`: 200 when loaded, healthy and not draining, else 503 with the same body."""

    ready: bool
    state: str = Field(description="`loading`, `ready`, `parked`, `draining` or `failed`.")
    in_flight: int
    capacity: int
    steps: int = Field(default=0, description="Steps that the worker has made in its life: they grow while it works.")


class Version(_Body):
    """`GET /version`."""

    pipeline: str
    model_id: str
    version: str
    start_seconds: dict[str, float] = Field(default_factory=dict, description="Seconds of each stage of the start that is over.")


class GpuInfo(_Body):
    """One card in `GET /hardware/info`; sizes in bytes."""

    id: str
    name: str
    memory_total: int
    memory_free: int
    major: int
    minor: int


class HardwareInfo(_Body):
    """`GET /hardware/info`. Without a GPU the map is empty."""

    pipeline: str
    model_id: str
    gpu_info: dict[str, GpuInfo]
