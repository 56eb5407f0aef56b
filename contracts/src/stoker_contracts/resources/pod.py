"""The narrow part of a pod that a user may shape. Never a whole PodSpec: see ``docs/concepts/security.md``."""

from typing import Annotated, Literal

from pydantic import Field

from stoker_contracts.resources.schema import Rule, Wire, validated_by

ENV_ALLOWED = "^(STUB_|CUDA_|NVIDIA_|NCCL_|PYTORCH_|TORCHINDUCTOR_|WORKER_)[A-Z0-9_]+$"
"""Variables that a user may set: never the loader's, Python's, a proxy's or a token's."""
_OURS = "!self.exists(key, key.startsWith('stoker.dev/') || key.startsWith('app.kubernetes.io/'))"

Label = Annotated[str, Field(max_length=63)]
Text = Annotated[str, Field(max_length=1024)]


class Toleration(Wire):
    """Which taints the worker bears."""

    key: str | None = Field(default=None, max_length=316, description="The taint's key; absent: every key.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Whether the taint's value matters.")
    value: str | None = Field(default=None, max_length=63, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(default=None, description="Absent: every effect.")
    toleration_seconds: int | None = Field(default=None, ge=0, description="How long a NoExecute taint is borne; absent: for ever.")


class PullSecret(Wire):
    """A Secret of the same namespace with which the kubelet pulls images."""

    name: str = Field(min_length=1, max_length=253, description="The Secret.")


class EnvironmentVariable(Wire):
    """One variable of the worker's environment."""

    name: str = Field(
        max_length=128,
        description="The variable; only some beginnings are allowed.",
        json_schema_extra=validated_by(
            Rule(
                f"self.matches('{ENV_ALLOWED}')",
                "env may only hold variables that begin with STUB_, CUDA_, NVIDIA_, NCCL_, PYTORCH_, TORCHINDUCTOR_ or WORKER_",
            )
        ),
    )
    value: str = Field(default="", max_length=4096, description="Its value.")


class PodOverrides(Wire):
    """What a user may add to the worker pods."""

    node_selector: dict[str, Label] = Field(default_factory=dict, max_length=16, description="Labels that the node must have.")
    tolerations: list[Toleration] = Field(default_factory=list, max_length=16, description="Taints that the pods bear.")
    priority_class_name: str | None = Field(default=None, max_length=253, description="Their PriorityClass.")
    image_pull_secrets: list[PullSecret] = Field(default_factory=list, max_length=8, description="For images of a closed registry.")
    env: list[EnvironmentVariable] = Field(default_factory=list, max_length=32, description="Variables of the workers.")
    labels: dict[str, Label] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels of the pods.",
        json_schema_extra=validated_by(Rule(_OURS, "labels of stoker.dev and app.kubernetes.io are Stoker's own")),
    )
    annotations: dict[str, Text] = Field(
        default_factory=dict,
        max_length=32,
        description="Annotations of the pods.",
        json_schema_extra=validated_by(Rule(_OURS, "annotations of stoker.dev and app.kubernetes.io are Stoker's own")),
    )
