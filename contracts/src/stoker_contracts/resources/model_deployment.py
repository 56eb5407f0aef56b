"""ModelDeployment: one model for one pipeline, the unit that is scaled."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from stoker_contracts.names import MAX_MODEL_ID
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.quantities import DURATION_PATTERN, QUANTITY_PATTERN
from stoker_contracts.resources.conditions import Condition
from stoker_contracts.resources.endpoints import MAX_ENDPOINTS, EndpointStatus
from stoker_contracts.resources.pod import PodOverrides
from stoker_contracts.resources.scaling import ScalingStatus
from stoker_contracts.resources.schema import Column, Rule, Wire, validated_by
from stoker_contracts.worker import MAX_CAPACITY

_IMMUTABLE = "is immutable; make a new ModelDeployment instead"
_KNOWN_FLAGS = ("compile", "bfloat16", "cudnn-attention", "channels-last", "fused-norms", "first-block-cache", "no-graphs")
"""The switches of the worker; what each does stands in the worker's own table."""

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
TOKEN_KEY_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"  # noqa: S105 - what keys look like
"""Keys of a Secret, but for those that begin with a dot: the kubelet keeps files of its own under such names."""
MAX_TOKEN_KEY = 253
MAX_URL = 512
MAX_PRICE = 64
MAX_CURRENCY = 16
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
    max_replicas: int = Field(default=1, ge=0, le=100, description="Never more workers than this, except in mode Manual.")
    idle_after: Duration = Field(default="10m", description="No job for so long: back to minReplicas.")
    target_queue_seconds: int = Field(
        default=10, ge=1, le=3600, description="A worker is added when the work waiting in line is longer than this."
    )
    start_timeout: Duration = Field(default="10m", description="How long a job may wait for a first worker.")
    drain_timeout: Duration = Field(default="10m", description="The longest job that a stopping worker may finish.")


class HubWeights(Wire):
    """Weights from the Hugging Face hub, kept in the cache volume."""

    revision: str = Field(
        default="main", max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", description="Branch, tag or commit."
    )
    prefetch: bool = Field(default=True, description="Fetch the files before a worker needs them.")


class ClaimWeights(Wire):
    """Weights on a PersistentVolumeClaim of the same namespace, mounted read-only."""

    name: ObjectName = Field(description="The PersistentVolumeClaim.")
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

    reference: ImageReference = Field(description="The image; its root is what the worker sees as its model directory.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent", description="When it is pulled.")


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

    hub: HubWeights | None = Field(default=None, description="From the Hugging Face hub, into the cache volume.")
    claim: ClaimWeights | None = Field(default=None, description="From a volume of the same namespace, read-only.")
    image: ImageWeights | None = Field(default=None, description="From a container image.")


class DeviceRequirements(Wire):
    """What a card must be able to do."""

    min_device_memory: Quantity | None = Field(default=None, description="Size of the whole card.")
    compute_capability: str | None = Field(
        default=None, max_length=16, pattern=r"^>=[0-9]{1,2}(\.[0-9])?$", description="CUDA compute capability, such as >=8.9."
    )
    products: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=16, description="Names of cards that will do, as the nodes' labels spell them."
    )


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
    sharing: Literal["Exclusive", "Shared"] = Field(default="Exclusive", description="Shared: other workers may use the card too.")
    require: DeviceRequirements | None = Field(default=None, description="What the card must be able to do.")
    class_name: ObjectName = Field(default="default", description="How the cluster hands out cards.")


class ComputeResources(Wire):
    """CPU and memory of one worker."""

    cpu: Quantity | None = Field(default=None, description="What a worker is sure of; it may use more where the node has it idle.")
    memory: Quantity | None = Field(default=None, description="Request and limit alike.")


class Rollout(Wire):
    """How a changed worker replaces the old one."""

    max_surge: int = Field(
        default=0, ge=0, le=1, description="0 works with no spare GPU: jobs are held until the new worker is ready."
    )


class Price(Wire):
    """What one unit of work costs."""

    per_unit: str = Field(max_length=MAX_PRICE, pattern=r"^[0-9]+(\.[0-9]+)?(e-?[0-9]{1,3})?$", description="A decimal string.")
    currency: str = Field(default="USD", min_length=1, max_length=MAX_CURRENCY, description="Such as USD or wei.")
    units_per: Literal["pixel", "millisecond", "request"] = Field(default="pixel", description="What is counted.")


class ExternalEndpoint(Wire):
    """A container that somebody else runs."""

    url: str = Field(
        max_length=MAX_URL,
        description="Where the container answers, its base path included.",
        json_schema_extra=validated_by(
            Rule(
                "self.matches('^https?://[^/@?#]+(/[^?#]*)?$') && isURL(self)",
                "url must be http:// or https:// with a host, and no user name, query or fragment",
            )
        ),
    )
    token_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_TOKEN_KEY,
        pattern=TOKEN_KEY_PATTERN,
        description="The key in the release's token Secret; absent: no token is sent.",
    )
    capacity: int = Field(default=1, ge=1, le=MAX_CAPACITY, description="Jobs that it takes at once.")


class External(Wire):
    """Workers that Stoker does not start."""

    endpoints: list[ExternalEndpoint] = Field(min_length=1, max_length=MAX_ENDPOINTS, description="The containers.")
    health_interval: Duration = Field(default="5s", description="How often each is asked for its health.")


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
        max_length=MAX_MODEL_ID,
        description="The model's name, compared byte for byte; immutable.",
        json_schema_extra=validated_by(Rule("self == oldSelf", f"modelId {_IMMUTABLE}")),
    )
    warm: bool = Field(default=False, description="Keep at least one worker loaded; false: start on request.")
    replicas: int = Field(default=0, ge=0, le=100, description="The scale subresource; owned by whoever scales.")
    scaling: Scaling = Field(default_factory=Scaling, json_schema_extra={"default": {}})
    capacity: int = Field(default=1, ge=1, le=MAX_CAPACITY, description="Jobs that one worker takes at once.")
    rollout: Rollout | None = Field(default=None, description="How a changed worker replaces the old one.")
    weights: Weights | None = Field(default=None, description="Absent: the release's default.")
    gpu: Gpu | None = Field(default=None, description="Absent: the release's default.")
    resources: ComputeResources | None = Field(default=None, description="Absent: the release's default.")
    image: ImageReference | None = Field(default=None, description="The worker's image; absent: the release's.")
    optimization: dict[str, bool] = Field(
        default_factory=dict,
        max_length=16,
        description=f"Switches of the worker: {', '.join(_KNOWN_FLAGS)}.",
        json_schema_extra=validated_by(
            Rule(f"self.all(flag, flag in {list(_KNOWN_FLAGS)!r})", f"unknown optimization flag; known: {', '.join(_KNOWN_FLAGS)}")
        ),
    )
    price: Price | None = Field(default=None, description="What is advertised as the price.")
    pod: PodOverrides | None = Field(default=None, description="What is added to the worker pods.")
    external: External | None = Field(default=None, description="Instead of pods: containers that somebody else runs.")


class WorkerStatus(Wire):
    """One worker pod, for people."""

    name: str = Field(description="The pod.")
    node: str | None = Field(default=None, description="Where it runs.")
    state: str = Field(description="What it does, in one word.")
    since: str | None = Field(default=None, description="Since when.")
    device: str | None = Field(default=None, description="What it computes on.")


class ModelDeploymentStatus(Wire):
    """What is so. `replicas` and `selector` serve the scale subresource."""

    observed_generation: int = Field(default=0, description="The generation of the spec that the status speaks of.")
    replicas: int = Field(default=0, description="Workers that exist.")
    ready_replicas: int = Field(default=0, description="Workers that take jobs.")
    selector: str = Field(default="", description="Which pods are the workers, for a HorizontalPodAutoscaler.")
    warm: str = Field(default="", description="Ready workers of wanted workers, for kubectl.")
    conditions: list[Condition] = Field(default_factory=list, max_length=16, description="What is so, and why.")
    scaling: ScalingStatus | None = Field(default=None, description="What activity decided about the workers.")
    endpoints: list[EndpointStatus] = Field(
        default_factory=list, max_length=MAX_ENDPOINTS, description="How the external containers are."
    )
    workers: list[WorkerStatus] = Field(default_factory=list, max_length=10, description="The workers, those in trouble first.")


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

    spec: ModelDeploymentSpec = Field(description="What is wanted.")
    status: ModelDeploymentStatus | None = Field(default=None, description="What is so.")
