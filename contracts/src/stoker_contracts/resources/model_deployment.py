"""ModelDeployment: one model for one pipeline, the unit that is scaled."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.quantities import DURATION_PATTERN, QUANTITY_PATTERN
from stoker_contracts.resources.conditions import Condition
from stoker_contracts.resources.pod import PodOverrides
from stoker_contracts.resources.schema import Column, Rule, Wire, validated_by

_IMMUTABLE = "is immutable; make a new ModelDeployment instead"
_KNOWN_FLAGS = ("compile", "bfloat16")

Quantity = Annotated[str, Field(max_length=32, pattern=QUANTITY_PATTERN)]
Duration = Annotated[
    str,
    Field(
        max_length=32,
        pattern=DURATION_PATTERN,
        json_schema_extra=validated_by(
            Rule("duration(self) > duration('0s')", "must be longer than 0s"),
            Rule("duration(self) <= duration('24h')", "must be at most 24h"),
        ),
    ),
]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ImageReference = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")]


class Scaling(Wire):
    """How many workers run, and who decides it."""

    model_config = ConfigDict(
        json_schema_extra=validated_by(
            Rule("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas", "minReplicas must not exceed maxReplicas")
        )
    )

    mode: Literal["Activity", "Manual"] = Field(
        default="Activity",
        description="Activity: the orchestrator writes the scale subresource. Manual: a person, an HPA or KEDA does.",
    )
    min_replicas: int | None = Field(default=None, ge=0, le=100, description="Absent: 1 if warm, else 0.")
    max_replicas: int = Field(default=1, ge=0, le=100)
    idle_after: Duration = Field(default="10m", description="No job for so long: back to minReplicas.")
    target_queue_seconds: int = Field(
        default=10, ge=1, le=3600, description="A worker is added when the work waiting in line is longer than this."
    )
    start_timeout: Duration = Field(default="10m", description="How long a job may wait for a first worker.")
    drain_timeout: Duration = Field(default="10m", description="The longest job that a stopping worker may finish.")


class HubWeights(Wire):
    """Weights from the Hugging Face hub, kept in the cache volume."""

    revision: str = Field(default="main", max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    prefetch: bool = True


class ClaimWeights(Wire):
    """Weights on a PersistentVolumeClaim of the same namespace, mounted read-only."""

    name: ObjectName
    path: str = Field(
        default="",
        max_length=512,
        description="The model's folder on the volume; absent: the volume's root, in plain or Hugging Face layout.",
        json_schema_extra=validated_by(
            Rule("!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')", "path must be relative, without ..")
        ),
    )


class ImageWeights(Wire):
    """Weights in a container image, mounted as an image volume (Kubernetes 1.35 or newer)."""

    reference: ImageReference
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class Weights(Wire):
    """Where a model's files come from: exactly one source."""

    model_config = ConfigDict(
        json_schema_extra=validated_by(
            Rule(
                "[has(self.hub), has(self.claim), has(self.image)].exists_one(given, given)",
                "weights must name exactly one source: hub, claim or image",
            )
        )
    )

    hub: HubWeights | None = None
    claim: ClaimWeights | None = None
    image: ImageWeights | None = None


class DeviceRequirements(Wire):
    """What a card must be able to do."""

    min_device_memory: Quantity | None = Field(default=None, description="Size of the whole card.")
    compute_capability: str | None = Field(default=None, max_length=16, pattern=r"^>=[0-9]{1,2}(\.[0-9])?$")
    products: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default_factory=list, max_length=16)


class Gpu(Wire):
    """What a worker needs of GPUs; how the cluster grants it is the cluster's business."""

    model_config = ConfigDict(
        json_schema_extra=validated_by(
            Rule("self.sharing != 'Shared' || has(self.memory)", "sharing a card needs memory: how much of each card"),
            Rule(
                "!has(self.memory) || !has(self.require) || !has(self.require.minDeviceMemory)"
                " || quantity(self.memory).compareTo(quantity(self.require.minDeviceMemory)) <= 0",
                "memory must not exceed require.minDeviceMemory",
            ),
        )
    )

    count: int = Field(default=1, ge=0, le=16, description="Cards per worker; 0 runs on the CPU.")
    memory: Quantity | None = Field(default=None, description="Budget on each card; absent: the whole card.")
    sharing: Literal["Exclusive", "Shared"] = "Exclusive"
    require: DeviceRequirements | None = None
    class_name: ObjectName = "default"


class ComputeResources(Wire):
    """CPU and memory of one worker: request and limit alike."""

    cpu: Quantity | None = None
    memory: Quantity | None = None


class Rollout(Wire):
    """How a changed worker replaces the old one."""

    max_surge: int = Field(
        default=0, ge=0, le=1, description="0 works with no spare GPU: jobs are held until the new worker is ready."
    )


class Price(Wire):
    """What one unit of work costs."""

    per_unit: str = Field(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)?(e-?[0-9]{1,3})?$", description="A decimal string.")
    currency: str = Field(default="USD", min_length=1, max_length=16)
    units_per: Literal["pixel", "millisecond", "request"] = "pixel"


class ExternalEndpoint(Wire):
    """A container that somebody else runs."""

    url: str = Field(
        max_length=512,
        json_schema_extra=validated_by(
            Rule(
                "self.matches('^https?://[^/@?#]+([/?#].*)?$') && isURL(self)",
                "url must be http:// or https:// with a host and no user name",
            )
        ),
    )
    token_key: str | None = Field(default=None, max_length=253, description="The key in the release's token Secret.")
    capacity: int = Field(default=1, ge=1, le=64)


class External(Wire):
    """Workers that Stoker does not start."""

    endpoints: list[ExternalEndpoint] = Field(min_length=1, max_length=16)
    health_interval: Duration = "5s"


class ModelDeploymentSpec(Wire):
    """One model for one pipeline, and how it is to run."""

    model_config = ConfigDict(
        json_schema_extra=validated_by(
            Rule("!self.warm || self.scaling.maxReplicas >= 1", "a warm model needs scaling.maxReplicas of at least 1"),
            Rule(
                "!has(self.external) || !(has(self.gpu) || has(self.weights) || has(self.image)"
                " || has(self.pod) || has(self.rollout))",
                "external excludes gpu, weights, image, pod and rollout: somebody else runs the container",
            ),
        )
    )

    pipeline: Pipeline = Field(
        description="What the model does; immutable.",
        json_schema_extra=validated_by(Rule("self == oldSelf", f"pipeline {_IMMUTABLE}")),
    )
    model_id: str = Field(
        min_length=1,
        max_length=256,
        description="The model's name, compared byte for byte; immutable.",
        json_schema_extra=validated_by(Rule("self == oldSelf", f"modelId {_IMMUTABLE}")),
    )
    warm: bool = Field(default=False, description="Keep at least one worker loaded; false: start on request.")
    replicas: int = Field(default=0, ge=0, le=100, description="The scale subresource; owned by whoever scales.")
    scaling: Scaling = Field(default_factory=Scaling, json_schema_extra={"default": {}})
    capacity: int = Field(default=1, ge=1, le=64, description="Jobs that one worker takes at once.")
    rollout: Rollout | None = None
    weights: Weights | None = Field(default=None, description="Absent: the release's default.")
    gpu: Gpu | None = Field(default=None, description="Absent: the release's default.")
    resources: ComputeResources | None = None
    image: ImageReference | None = Field(default=None, description="The worker's image; absent: the release's.")
    optimization: dict[str, bool] = Field(
        default_factory=dict,
        max_length=16,
        description=f"Switches of the worker: {', '.join(_KNOWN_FLAGS)}.",
        json_schema_extra=validated_by(
            Rule(f"self.all(flag, flag in {list(_KNOWN_FLAGS)!r})", f"unknown optimization flag; known: {', '.join(_KNOWN_FLAGS)}")
        ),
    )
    price: Price | None = None
    pod: PodOverrides | None = None
    external: External | None = None


class WorkerStatus(Wire):
    """One worker pod, for people."""

    name: str
    node: str | None = None
    state: str
    since: str | None = None
    device: str | None = None
    gpu_memory: str | None = None


class ModelDeploymentStatus(Wire):
    """What is so. `replicas` and `selector` serve the scale subresource."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    selector: str = ""
    warm: str = Field(default="", description="Ready workers of wanted workers, for kubectl.")
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    workers: list[WorkerStatus] = Field(default_factory=list, max_length=10)


class ModelDeployment(Wire):
    """A diffusion model that is kept warm, or started on request."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("Pipeline", ".spec.pipeline"),
        Column("Model", ".spec.modelId"),
        Column("Warm", ".status.warm"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Age", ".metadata.creationTimestamp", type="date"),
        Column("Advertised", '.status.conditions[?(@.type=="Advertised")].reason', priority=1),
        Column("Node", ".status.workers[0].node", priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
    )

    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus | None = None
