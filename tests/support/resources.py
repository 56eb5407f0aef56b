"""Kubernetes objects as the operator reads them."""

from typing import Any

from stoker_operator.domain.observed import Observed, observed
from stoker_operator.domain.release import WorkerDefaults

Json = dict[str, Any]

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
AT_NOW = "2027-01-15T08:00:00Z"
EARLIER = "2027-01-15T07:57:30Z"
"""Two and a half minutes before."""
WORKER_IMAGE = "stoker.dev/worker:1"
GPU = "nvidia.com/gpu"


def release(**others: Any) -> WorkerDefaults:
    """The release's defaults: a stub worker on the CPU."""
    return WorkerDefaults.model_validate({"image": WORKER_IMAGE, "engine": "stub", "gpu": {"count": 0}} | others)


def resource(name: str = "m", *, status: Json | None = None, metadata: Json | None = None, **spec: Any) -> Json:
    """A ModelDeployment as it is stored."""
    return {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "stoker", "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
        | (metadata or {}),
        "spec": {"pipeline": "text-to-image", "modelId": f"org/{name}"} | spec,
        **({"status": status} if status else {}),
    }


def deployment(name: str = "m", *, owner: str | None = "uid-m", labelled: bool = True, **others: Any) -> Json:
    """A Deployment; `owner` is the uid of the ModelDeployment that controls it."""
    labels = {"app.kubernetes.io/managed-by": "stoker", "stoker.dev/model-deployment": name} if labelled else {}
    reference = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "name": name, "uid": owner, "controller": True}
    metadata = {"name": name, "uid": "uid-deployment", "labels": labels, "ownerReferences": [reference] if owner else []}
    return {"kind": "Deployment", "metadata": metadata, "spec": {}} | others


def pod(name: str = "m-1", *, of: str = "m", metadata: Json | None = None, **status: Any) -> Json:
    """A worker pod that the scheduler has not looked at yet, unless `status` says more."""
    labels = {"app.kubernetes.io/managed-by": "stoker", "stoker.dev/model-deployment": of, "stoker.dev/resource-uid": f"uid-{of}"}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "creationTimestamp": EARLIER} | (metadata or {}),
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Pending"} | status,
    }


def ready_pod(name: str = "m-1", **others: Any) -> Json:
    """A worker that takes jobs."""
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": AT_NOW}]
    running = {"name": "worker", "started": True, "state": {"running": {"startedAt": EARLIER}}}
    return pod(name, phase="Running", conditions=conditions, containerStatuses=[running], **others)


def leaving_pod(*, by: str) -> Json:
    """A worker that was asked to stop and has until `by`."""
    gone = ready_pod("m-0")
    gone["metadata"] |= {"deletionTimestamp": by, "deletionGracePeriodSeconds": 600}
    return gone


def unscheduled_pod(message: str, since: str = EARLIER) -> Json:
    """A worker for which the scheduler finds no node."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(conditions=[condition | {"lastTransitionTime": since}]) | {"spec": {}}


def pod_with(state: Json, *, last: Json | None = None, restarts: int = 0, started: bool = False, lost_at: str = EARLIER) -> Json:
    """A scheduled worker whose container is in `state` and not ready since `lost_at`; `last` is how it ended before."""
    container = {"name": "worker", "state": state, "restartCount": restarts, "started": started}
    return pod(
        phase="Running",
        conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": lost_at}],
        containerStatuses=[container | ({"lastState": {"terminated": last}} if last else {})],
    )


def waiting(reason: str, message: str = "") -> Json:
    """The state of a container that the kubelet has not started."""
    return {"waiting": {"reason": reason, "message": message}}


def running(since: str = EARLIER) -> Json:
    """The state of a container that runs."""
    return {"running": {"startedAt": since}}


def seen(
    *pods: Json, defaults: WorkerDefaults | None = None, made: Json | None = None, claim: Json | None = None, **spec: Any
) -> Observed:
    """An observation of a ModelDeployment `m`, with a Deployment of its own unless `made` is another."""
    return observed(resource(**spec), defaults or release(), made or deployment(), pods, claim)
