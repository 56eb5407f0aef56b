"""What a worker pod is about: serving, on its way, or in trouble, and then which."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stoker_contracts import names
from stoker_contracts.resources.conditions import Reason
from stoker_operator.domain.clock import earlier
from stoker_operator.domain.farewell import bounded, farewell
from stoker_operator.domain.manifests.compiled import VOLUME
from stoker_operator.domain.wanted import Wanted

Item = Mapping[str, Any]

_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
)
_CRASHED_OFTEN = 2
"""From this restart on a worker that loads again is called a crash loop; one crash may be chance."""
SEVERITY = (
    Reason.WEIGHTS_MISSING, Reason.LOAD_FAILED, Reason.OUT_OF_MEMORY, Reason.IMAGE_NOT_PULLABLE, Reason.CRASH_LOOP,
    Reason.UNSCHEDULABLE, Reason.NOT_READY, Reason.STARTING, Reason.STOPPED, Reason.SERVING,
)  # fmt: skip
"""Reasons of a worker, worst first."""
_MAKING = "a worker's image is pulled and its container made"
_STATES = {Reason.SERVING: "Ready", Reason.STOPPED: "Draining"}


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker pod. `since` is the moment (a Kubernetes timestamp) at which the present state began.

    `grace_ends` is the one at which a worker that was asked to stop will be made to; None where it was not asked.
    """

    name: str
    reason: Reason
    message: str = ""
    since: str | None = None
    node: str | None = None
    grace_ends: str | None = None

    @property
    def state(self) -> str:
        """The state in one word, for people."""
        return _STATES.get(self.reason, self.reason.value)

    @property
    def ready(self) -> bool:
        """Whether it takes jobs."""
        return self.reason is Reason.SERVING


def workers(pods: Iterable[Item], asked: Wanted) -> tuple[Worker, ...]:
    """Judge the pods of one ModelDeployment."""
    return tuple(_worker(pod, asked) for pod in pods)


def _worker(pod: Item, asked: Wanted) -> Worker:
    metadata, status = pod["metadata"], pod.get("status") or {}
    reason, message, since = _judge(pod, asked)
    node = (pod.get("spec") or {}).get("nodeName")
    since = since or status.get("startTime") or metadata.get("creationTimestamp")
    return Worker(metadata["name"], reason, message, since, node, metadata.get("deletionTimestamp"))


_Judgement = tuple[Reason, str, str | None]


def _judge(pod: Item, asked: Wanted) -> _Judgement:
    status = pod.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    if pod["metadata"].get("deletionTimestamp"):
        return Reason.STOPPED, "the worker finishes its jobs and stops", _asked_to_stop(pod["metadata"])
    if status.get("phase") == "Failed":
        told = status.get("message") or status.get("reason") or "no reason told"
        return Reason.NOT_READY, f"the pod failed: {bounded(told)}", None
    if ready.get("status") == "True":
        return Reason.SERVING, "", ready.get("lastTransitionTime")
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return *_unscheduled(scheduled.get("message") or "", asked), scheduled.get("lastTransitionTime")
    container: Item = next((each for each in status.get("containerStatuses") or [] if each["name"] == names.WORKER_CONTAINER), {})
    return _judge_container(container, asked, ready)


def _asked_to_stop(metadata: Item) -> str:
    """A deletion timestamp lies ahead: it is the moment at which the grace period ends."""
    return earlier(metadata["deletionTimestamp"], float(metadata.get("deletionGracePeriodSeconds") or 0))


def _unscheduled(message: str, asked: Wanted) -> tuple[Reason, str]:
    told = bounded(message) or "the scheduler gave no reason"
    if "persistentvolumeclaim" in message.lower():
        return _unusable_claim(message, told, asked)
    if f"Insufficient {asked.release.gpu_resource}" in message:
        cards = f"{asked.gpu.count} free {asked.release.gpu_resource}"
        return Reason.UNSCHEDULABLE, f"no node has {cards}: {told}"
    if asked.gpu.require is not None and "node affinity" in message:
        return Reason.UNSCHEDULABLE, f"no node has a GPU as gpu.require asks: {told}"
    return Reason.UNSCHEDULABLE, f"no node takes the worker: {told}"


def _unusable_claim(message: str, told: str, asked: Wanted) -> tuple[Reason, str]:
    """The scheduler names the claim, or says that there is one. In doubt it is the one that a worker cannot do without."""
    compiled, weights = asked.compile_claim, asked.weights.claim if asked.weights else None
    if compiled and (weights is None or (weights.name != compiled.name and f'"{compiled.name}"' in message)):
        return Reason.UNSCHEDULABLE, f"the claim {compiled.name} for compiled code cannot be used: {told}"
    return Reason.WEIGHTS_MISSING, f"the claim with the weights cannot be used: {told}"


def _judge_container(container: Item, asked: Wanted, ready: Item) -> _Judgement:
    state = container.get("state") or {}
    restarts = int(container.get("restartCount", 0))
    if "terminated" in state:
        return *_ended(state["terminated"], restarts + 1), state["terminated"].get("finishedAt")
    last = (container.get("lastState") or {}).get("terminated")
    waiting = state.get("waiting") or {}
    if waiting.get("reason") == "CrashLoopBackOff":
        return *_ended(last or {}, restarts), (last or {}).get("finishedAt")
    if waiting:
        return *_waiting(waiting, asked), None
    since = (state.get("running") or {}).get("startedAt")
    lost_at = ready.get("lastTransitionTime")
    if since and lost_at and container.get("started") and lost_at > since:
        return Reason.NOT_READY, "a worker has loaded the model but takes no jobs now", lost_at
    if last is not None and (restarts >= _CRASHED_OFTEN or farewell(last).at_load):
        return *_ended(last, restarts), since
    return Reason.STARTING, "a worker loads the model" if since else _MAKING, since


def _waiting(waiting: Item, asked: Wanted) -> tuple[Reason, str]:
    reason, message = waiting.get("reason", ""), waiting.get("message") or ""
    weights = asked.weights
    if reason in _IMAGE_REASONS:
        cause = bounded(re.sub(r'^Back-off pulling image "[^"]*"(: ErrImagePull)?(: )?', "", message)) or "no cause told"
        if weights and weights.image and weights.image.reference != asked.image and weights.image.reference in message:
            return Reason.WEIGHTS_MISSING, f"the weights image {weights.image.reference} cannot be pulled: {cause}"
        return Reason.IMAGE_NOT_PULLABLE, f"the image {asked.image} cannot be pulled: {cause}"
    if reason in ("", "ContainerCreating", "PodInitializing"):
        return Reason.STARTING, _MAKING
    if weights and weights.claim and "subpath" in message.lower() and f'"{VOLUME}"' not in message:
        return Reason.WEIGHTS_MISSING, f"the claim {weights.claim.name} has no folder {weights.claim.path}: {bounded(message)}"
    return Reason.NOT_READY, f"a worker's container cannot be made: {reason}: {bounded(message)}"


def _ended(terminated: Item, times: int) -> tuple[Reason, str]:
    end = farewell(terminated)
    if end.reason is Reason.CRASH_LOOP:
        return end.reason, f"the worker crashed {times} {'time' if times == 1 else 'times'}; {end.words}"
    return end.reason, end.words
