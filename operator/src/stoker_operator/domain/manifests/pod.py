"""The worker pod: one model in one process, under Pod Security *restricted*."""

import math
from typing import Any

from stoker_contracts import names
from stoker_contracts.quantities import quantity, seconds
from stoker_contracts.worker import Variable
from stoker_operator.domain.manifests.compiled import compiled_mounts, compiled_volumes
from stoker_operator.domain.manifests.placement import placement
from stoker_operator.domain.wanted import Wanted

USER = 65532
"""The user that all of Stoker's images run as."""
STOP_MARGIN_SECONDS = 15
"""What a worker may take beyond its last job to be gone."""
LONGEST_LOAD_SECONDS = 1800
"""A worker that has not loaded after so long hangs. Callers give up earlier (startTimeout); the load may still be of use."""
HUNG_SECONDS = 5
"""What a worker that hangs, in its load or later, is given to end. It may not hear that it should, and has no job to finish."""
_TMP_SIZE = "4Gi"
_SHARED_MEMORY_SIZE = "1Gi"
_MODELS = "models"

Json = dict[str, Any]


def pod_spec(asked: Wanted) -> Json:
    """The spec of a worker pod."""
    release, pod = asked.release, asked.spec.pod
    secrets = {each.name: None for each in [*release.image_pull_secrets, *(pod.image_pull_secrets if pod else [])]}
    priority = (pod.priority_class_name if pod else None) or release.priority_class_name
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The first process of a container does not hear SIGTERM before it listens for it; a worker deleted while it starts would
        # then stay for its whole grace period. Behind the pod's own first process it ends at once.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": math.ceil(_drain_seconds(asked)) + STOP_MARGIN_SECONDS,
        "securityContext": _security(asked),
        "containers": [_container(asked)],
        "volumes": _volumes(asked),
        **placement(asked),
        **({"imagePullSecrets": [{"name": name} for name in secrets]} if secrets else {}),
        **({"priorityClassName": priority} if priority else {}),
        **({"runtimeClassName": release.runtime_class_name} if release.runtime_class_name and asked.gpu.count else {}),
    }


def _security(asked: Wanted) -> Json:
    # A volume belongs to root at first. Of the volumes, this concerns the one for compiled code alone: weights are read-only.
    group = {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"} if asked.compile_claim else {}
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
        **group,
    }


def _container(asked: Wanted) -> Json:
    hung = {"terminationGracePeriodSeconds": HUNG_SECONDS}
    return {
        "name": names.WORKER_CONTAINER,
        "image": asked.image,
        "imagePullPolicy": asked.release.image_pull_policy,
        "ports": [{"name": names.WORKER_PORT_NAME, "containerPort": names.WORKER_PORT, "protocol": "TCP"}],
        "env": _environment(asked),
        "resources": _resources(asked),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(asked),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "startupProbe": _probe("/ready", period=1, failures=_load_seconds(asked), timeout=3) | hung,
        "readinessProbe": _probe("/ready", period=1, failures=2, timeout=3),
        "livenessProbe": _probe("/live", period=10, failures=3, timeout=5) | hung,
    }


def _probe(path: str, *, period: int, failures: int, timeout: int) -> Json:
    return {
        "httpGet": {"path": path, "port": names.WORKER_PORT_NAME},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def _environment(asked: Wanted) -> list[Json]:
    """The release's variables, over them the user's, over them ours."""
    spec = asked.spec
    flags = sorted(flag for flag, on in spec.optimization.items() if on)
    ours = {
        Variable.PIPELINE: spec.pipeline.value,
        Variable.MODEL_ID: spec.model_id.replace("$(", "$$("),  # the kubelet would take $(NAME) for a variable
        Variable.MODEL_DIR: names.MODELS_MOUNT,
        Variable.ENGINE: asked.release.engine,
        Variable.CAPACITY: str(spec.capacity),
        Variable.PORT: str(names.WORKER_PORT),
        Variable.DRAIN_SECONDS: f"{_drain_seconds(asked):g}",
        Variable.DEVICE: "cuda" if asked.gpu.count else "cpu",
        **({Variable.OPTIMIZATION: ",".join(flags)} if flags else {}),
        **({Variable.COMPILE_CACHE_DIR: names.COMPILED_MOUNT} if asked.compiles else {}),
        **({Variable.GPU_MEMORY_BUDGET_BYTES: str(int(quantity(asked.gpu.memory)))} if asked.gpu.memory else {}),
    }
    users = {each.name: each.value for each in spec.pod.env} if spec.pod else {}
    merged = asked.release.env | users | {key.value: value for key, value in ours.items()}
    return [{"name": name, "value": value} for name, value in sorted(merged.items())]


def _resources(asked: Wanted) -> Json:
    """Memory and cards are bounded. CPU is not: a bound would slow the loading of a model while the node idles."""
    cpu = {"cpu": asked.resources.cpu} if asked.resources.cpu else {}
    memory = {"memory": asked.resources.memory} if asked.resources.memory else {}
    cards = {asked.release.gpu_resource: str(asked.gpu.count)} if asked.gpu.count else {}
    sections = {"requests": cpu | memory, "limits": memory | cards}
    return {name: sizes for name, sizes in sections.items() if sizes}


def _volumes(asked: Wanted) -> list[Json]:
    volumes: list[Json] = [{"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}}]
    if asked.gpu.count:
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY_SIZE}})
    weights = asked.weights
    if weights and weights.claim:
        volumes.append({"name": _MODELS, "persistentVolumeClaim": {"claimName": weights.claim.name, "readOnly": True}})
    elif weights and weights.image:
        source = {"reference": weights.image.reference, "pullPolicy": weights.image.pull_policy}
        volumes.append({"name": _MODELS, "image": source})
    return volumes + compiled_volumes(asked)


def _mounts(asked: Wanted) -> list[Json]:
    mounts: list[Json] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the container's own
    if asked.gpu.count:
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - the container's own
    weights = asked.weights
    if weights and (weights.claim or weights.image):
        folder = weights.claim.path.strip("/") if weights.claim else ""
        mounts.append(
            {"name": _MODELS, "mountPath": names.MODELS_MOUNT, "readOnly": True} | ({"subPath": folder} if folder else {})
        )
    return mounts + compiled_mounts(asked)


def _drain_seconds(asked: Wanted) -> float:
    return seconds(asked.spec.scaling.drain_timeout)


def _load_seconds(asked: Wanted) -> int:
    return max(LONGEST_LOAD_SECONDS, math.ceil(seconds(asked.spec.scaling.start_timeout)))
