"""The orchestrator's settings, read once from variables that begin with STOKER_."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FilePath, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stoker_contracts.names import ORCHESTRATOR_PORT, PEER_PORT
from stoker_orchestrator.domain.autoscaler import RESIDENCY_SECONDS


def _decoded(value: Any) -> Any:
    """JSON, decoded here, because pydantic-settings names no variable when it cannot."""
    return json.loads(value) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything the orchestrator is told. A bad value is refused at start with the variable's name."""

    model_config = SettingsConfigDict(
        env_prefix="STOKER_", frozen=True, protected_namespaces=(), env_ignore_empty=True, extra="ignore"
    )

    name: str = Field(default="orchestrator", max_length=253, description="Shown in /capabilities.")
    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a service is reached from outside; the NetworkPolicy bounds by whom
        description="The address that is listened on.",
    )
    port: int = Field(default=ORCHESTRATOR_PORT, ge=1, le=65535, description="The port that is listened on.")
    fleet: Literal["kubernetes", "processes"] = Field(
        default="kubernetes", description="Where workers run: in pods, or as child processes on this host."
    )
    namespace: str = Field(default="", description="kubernetes: the namespace that is served.")
    kubeconfig: Path | None = Field(default=None, description="kubernetes: absent inside a cluster.")
    models_config: Path | None = Field(default=None, description="processes: the aiModels.json file.")
    models_dir: Path = Field(default=Path("/models"), description="processes: MODEL_DIR of the workers.")
    worker_engine: Literal["diffusers", "stub"] = Field(default="diffusers", description="processes: ENGINE of the workers.")
    worker_env: Annotated[dict[str, str], NoDecode, BeforeValidator(_decoded)] = Field(
        default_factory=dict, description="processes: JSON, more variables for the workers."
    )
    worker_start_seconds: float = Field(default=600, gt=0, description="processes: seconds that a job waits for a first worker.")
    tokens_dir: Path | None = Field(
        default=None, description="Folder with the tokens of external containers, one file for each key, as a Secret is mounted."
    )
    workers_per_model: int = Field(default=1, ge=1, description="processes: workers of one model at most.")
    worker_idle_seconds: float = Field(
        default=600, gt=0, description="processes: seconds without a job after which a worker that is not needed ends."
    )
    authorities_file: FilePath | None = Field(
        default=None, description="PEM file with certificates that are trusted behind https, beside the system's."
    )
    max_body_bytes: int = Field(default=32 * 2**20, gt=0, description="Bytes of one request; larger ones get a 413.")
    body_budget_bytes: int = Field(default=256 * 2**20, gt=0, description="Bytes of all requests that are kept at a time.")
    body_stall_seconds: float = Field(default=30, gt=0, description="Seconds without a byte from the caller; then it gets a 408.")
    max_connections: int = Field(default=4096, ge=1, description="Connections of callers; more get a 503.")
    line_limit: int = Field(default=1000, ge=1, description="Jobs that may wait for one model; more get a 429.")
    line_seconds: float = Field(
        default=600, gt=0, description="Seconds of declared work, for each slot of a model, that may wait; more gets a 429."
    )
    residency_seconds: float = Field(
        default=RESIDENCY_SECONDS, ge=0, description="Seconds that a worker stays at least once it is ready, whatever is asked for."
    )
    peer_lease: str = Field(
        default="",
        max_length=253,
        description="kubernetes: the Lease by which several orchestrators choose who gives out slots; empty: this one does.",
    )
    peer_name: str = Field(default="", max_length=253, description="This one's name among them: its pod's.")
    peer_address: str = Field(default="", description="The IP address at which the others reach this one: its pod's.")
    peer_port: int = Field(default=PEER_PORT, ge=0, le=65535, description="The port at which they do; 0: any.")
    drain_seconds: float = Field(default=600, ge=0, description="Seconds that jobs may go on after SIGTERM.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="From which level on lines are logged."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.fleet == "kubernetes" and not self.namespace:
            message = "STOKER_NAMESPACE must name the namespace to serve"
            raise ValueError(message)
        if self.peer_lease and not (self.peer_name and self.peer_address):
            message = "STOKER_PEER_LEASE needs STOKER_PEER_NAME and STOKER_PEER_ADDRESS"
            raise ValueError(message)
        if self.fleet == "processes" and self.models_config is None:
            message = "STOKER_MODELS_CONFIG must name the aiModels.json file"
            raise ValueError(message)
        return self
