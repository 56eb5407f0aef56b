"""The operator's settings, read once from variables that begin with STOKER_."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from stoker_operator.domain.release import WorkerDefaults


class Settings(BaseSettings):
    """Everything the operator is told. A bad value is refused at start with the variable's name."""

    model_config = SettingsConfigDict(env_prefix="STOKER_", frozen=True, env_ignore_empty=True, extra="ignore")

    namespace: str = Field(min_length=1, max_length=63, description="The one namespace that is served.")
    kubeconfig: Path | None = Field(default=None, description="File with the access to the API server; absent inside a cluster.")
    worker: WorkerDefaults = Field(description="JSON: what workers get where their resource says nothing.")
    resync_seconds: float = Field(default=300, gt=0, description="Seconds after which everything is looked at again.")
    health_host: str = Field(
        default="0.0.0.0",  # noqa: S104 - the kubelet asks from outside the pod
        description="The address on which health is told.",
    )
    health_port: int = Field(default=8080, ge=0, le=65535, description="Where GET /healthz answers; 0 takes a free port.")
    reconciles: int = Field(default=10, ge=1, le=64, description="Resources that are worked on at a time.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="From which level on lines are logged."
    )
