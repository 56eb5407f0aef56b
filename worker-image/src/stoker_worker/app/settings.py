"""The worker's settings, read once from its environment (``stoker_contracts.worker.Variable``)."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stoker_contracts.jobs import JobLimits
from stoker_contracts.names import MAX_MODEL_ID
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import MAX_CAPACITY
from stoker_worker.domain.shapes import Shape, parse_shapes
from stoker_worker.engine.speed.switches import SWITCHES, parse_switches
from stoker_worker.engine.stub import StubScript


def _decoded(value: Any) -> Any:
    """JSON, decoded here, because pydantic-settings names no variable when it cannot."""
    return json.loads(value) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything a worker is told. A bad value is refused at start with the variable's name."""

    model_config = SettingsConfigDict(frozen=True, protected_namespaces=(), env_ignore_empty=True)

    pipeline: Pipeline = Field(description="What the model does.")
    model_id: str = Field(min_length=1, max_length=MAX_MODEL_ID, description="The model; jobs that name another are refused.")
    model_dir: Path = Field(default=Path("/models"), description="Folder that holds the weights.")
    engine: Literal["diffusers", "stub"] = Field(default="diffusers", description="stub: no model, times and faults by script.")
    capacity: int = Field(default=1, ge=1, le=MAX_CAPACITY, description="Jobs taken at once; those that do not run wait.")
    max_batch: int = Field(default=8, ge=1, le=64, description="Pictures or videos that may be made in one batch.")
    step_timeout_seconds: float = Field(
        default=120, gt=0, description="Seconds without progress after which the model is taken for hung and the worker ends."
    )
    park_after_seconds: float = Field(
        default=0, ge=0, description="Seconds without a job after which the weights leave the device; 0: never."
    )
    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a pod is reached by its own address; the NetworkPolicy bounds who may
        description="The address that is listened on.",
    )
    port: int = Field(default=8000, ge=1, le=65535, description="The port that is listened on.")
    body_stall_seconds: float = Field(
        default=60, gt=0, description="Seconds without a byte of a body, then a 400; a whole body may take ten times as long."
    )
    drain_seconds: float = Field(default=600, ge=0, description="Seconds that jobs may go on after SIGTERM.")
    device: Literal["auto", "cuda", "cpu"] = Field(default="auto", description="auto: a card where there is one.")
    gpu_memory_budget_bytes: int | None = Field(default=None, gt=0, description="Bytes this worker may use on its card.")
    optimization: str = Field(default="", description=f"Comma list of switches: {', '.join(SWITCHES)}.")
    compile_cache_dir: Path | None = Field(
        default=None, description="compile: folder in which compiled code outlives the worker, on a volume."
    )
    auth_token: SecretStr | None = Field(default=None, description="When set, jobs need it as a bearer token.")
    termination_message_path: Path = Field(
        default=Path("/dev/termination-log"), description="File that gets the reason, in words, when the worker gives up."
    )
    warm_shapes: str = Field(
        default="",
        description="Comma list, e.g. 1024x576,512x512x4 (width, height, rows of a batch): run before the first job.",
    )
    stub_script: Annotated[StubScript, NoDecode, BeforeValidator(_decoded)] = Field(
        default_factory=StubScript, description="JSON: how the stub engine behaves."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="From which level on lines are logged."
    )
    stoker_version: str = Field(default="0.1.0", description="What /version says; the image sets it.")
    worker_max_steps: int = Field(default=200, ge=1, description="Denoising steps a job may ask for.")
    worker_max_pixels: int = Field(default=2048 * 2048, ge=64, description="Pixels of all images of a job together.")
    worker_max_images: int = Field(default=8, ge=1, description="Images of one job.")

    @field_validator("optimization")
    @classmethod
    def _known(cls, value: str) -> str:
        parse_switches(value)
        return value

    @field_validator("warm_shapes")
    @classmethod
    def _shapes(cls, value: str) -> str:
        parse_shapes(value)
        return value

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What is run before the first job; none: what the engine thinks best."""
        return parse_shapes(self.warm_shapes)

    @property
    def switches(self) -> frozenset[str]:
        """The optimization switches that are on."""
        return parse_switches(self.optimization)

    @property
    def limits(self) -> JobLimits:
        """What a job may ask of this worker."""
        return JobLimits(max_steps=self.worker_max_steps, max_pixels=self.worker_max_pixels, max_images=self.worker_max_images)
