"""What a ModelDeployment asks for once the release's defaults have filled its gaps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from stoker_contracts.resources.model_deployment import ComputeResources, Gpu, ModelDeploymentSpec, Scaling, Weights
from stoker_operator.domain.release import CompileCacheClaim, WorkerDefaults


class SpecError(Exception):
    """A stored spec that this version of the operator cannot read; the message names the field."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The worker that is asked for. `weights` is None where nothing is mounted."""

    spec: ModelDeploymentSpec
    release: WorkerDefaults
    image: str
    gpu: Gpu
    weights: Weights | None
    resources: ComputeResources
    replicas: int

    @property
    def compiles(self) -> bool:
        """Whether workers compile code, which is worth keeping."""
        return self.spec.optimization.get("compile", False)

    @property
    def compile_claim(self) -> CompileCacheClaim | None:
        """The claim on which workers keep compiled code; None where they keep none, or keep it in their pods."""
        claim = self.release.compile_cache.claim
        return claim if self.compiles and claim.name else None

    @property
    def startable(self) -> bool:
        """Whether activity may start a worker."""
        return self.spec.scaling.mode == "Activity" and self.spec.scaling.max_replicas > 0


def wanted(spec: Mapping[str, Any], release: WorkerDefaults) -> Wanted:
    """Read a stored spec. Raises SpecError."""
    try:
        read = ModelDeploymentSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise SpecError(message) from None
    asked = read.resources or ComputeResources()
    return Wanted(
        spec=read,
        release=release,
        image=read.image or release.image,
        gpu=read.gpu or release.gpu,
        weights=_some(read.weights) or _some(release.weights),
        resources=ComputeResources(
            cpu=asked.cpu or release.resources.cpu, memory=asked.memory or release.resources.memory
        ),
        replicas=replicas(read.scaling, warm=read.warm, asked=read.replicas),
    )  # fmt: skip


def replicas(scaling: Scaling, *, warm: bool, asked: int) -> int:
    """How many workers run: what is asked, held between minimum and maximum while activity decides; as it stands otherwise."""
    if scaling.mode == "Manual":
        return asked
    least = scaling.min_replicas if scaling.min_replicas is not None else int(warm)
    return min(max(asked, least), scaling.max_replicas)


def _some(weights: Weights | None) -> Weights | None:
    return weights if weights and (weights.hub or weights.claim or weights.image) else None
