"""What the release says of all workers; what a ModelDeployment says takes its place, `gpu` and `weights` as a whole."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stoker_contracts.resources.model_deployment import ComputeResources, Gpu, ImageReference, Quantity, Weights
from stoker_contracts.resources.pod import PullSecret, Toleration
from stoker_contracts.resources.schema import Wire

_BOUNDARIES = "/:@"


class CompileCacheClaim(Wire):
    """A PersistentVolumeClaim of the same namespace that workers write; without a name there is none."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="", max_length=253)
    path: str = Field(default="", max_length=512, description="The folder on the volume; empty: its root.")


class CompileCache(Wire):
    """Where workers with the switch ``compile`` keep compiled code: on a claim, or else in their pod, for as long as that lives."""

    model_config = ConfigDict(extra="forbid")

    claim: CompileCacheClaim = Field(default_factory=CompileCacheClaim)
    size_limit: Quantity = Field(default="2Gi", description="Of the pod's own folder; a pod that writes more is evicted.")


class WorkerDefaults(Wire):
    """``STOKER_WORKER``: the worker of a ModelDeployment that says nothing else. A misspelled key is refused."""

    model_config = ConfigDict(extra="forbid")

    image: ImageReference
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    allowed_image_prefixes: list[str] = Field(
        default_factory=list, description="Beginnings of other images that may be asked for; empty: only `image`."
    )
    engine: Literal["diffusers", "stub"] = "diffusers"
    gpu: Gpu = Field(default_factory=Gpu)
    gpu_resource: str = Field(default="nvidia.com/gpu", min_length=1, description="The device plugin's resource.")
    resources: ComputeResources = Field(default_factory=ComputeResources)
    weights: Weights | None = None
    compile_cache: CompileCache = Field(default_factory=CompileCache)
    env: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    image_pull_secrets: list[PullSecret] = Field(default_factory=list)
    priority_class_name: str = ""
    runtime_class_name: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = self.weights.model_dump(exclude_none=True) if self.weights else {}
        if len(sources) > 1:
            message = f"weights must name one source, not {' and '.join(sorted(sources))}"
            raise ValueError(message)
        return self

    def allows(self, image: str) -> bool:
        """Whether workers may run `image`. A prefix ends at a boundary: ``host/stoker`` does not allow ``host/stoker-evil``."""
        return image == self.image or any(_begins(image, prefix) for prefix in self.allowed_image_prefixes if prefix)


def _begins(image: str, prefix: str) -> bool:
    rest = image.removeprefix(prefix)
    return image.startswith(prefix) and (not rest or prefix[-1] in _BOUNDARIES or rest[0] in _BOUNDARIES)
