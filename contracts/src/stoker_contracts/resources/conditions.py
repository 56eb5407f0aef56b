"""Conditions of a ModelDeployment: a closed list of types, and for each a closed list of reasons."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from stoker_contracts.resources.schema import Wire


class ConditionType(StrEnum):
    """What a condition speaks of. `Advertised` is the orchestrator's, the rest the operator's."""

    ACCEPTED = "Accepted"
    WEIGHTS_READY = "WeightsReady"
    READY = "Ready"
    WARM = "Warm"
    ADVERTISED = "Advertised"


class Reason(StrEnum):
    """Why a condition is what it is. The same word stands in the Event, the log and the metric label."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    WEIGHTS_UNSUPPORTED = "WeightsUnsupported"
    SHARING_UNSUPPORTED = "SharingUnsupported"
    GPU_CLASS_UNKNOWN = "GpuClassUnknown"
    NAME_TAKEN = "NameTaken"

    WEIGHTS_NOT_NEEDED = "WeightsNotNeeded"
    WEIGHTS_UNCHECKED = "WeightsUnchecked"
    WEIGHTS_LOADED = "WeightsLoaded"
    WEIGHTS_MISSING = "WeightsMissing"

    SERVING = "Serving"
    STARTABLE = "Startable"
    STARTING = "Starting"
    NOT_ACCEPTED = "NotAccepted"
    IMAGE_NOT_PULLABLE = "ImageNotPullable"
    UNSCHEDULABLE = "Unschedulable"
    LOAD_FAILED = "LoadFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASH_LOOP = "CrashLoop"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NOT_READY = "NotReady"
    STOPPED = "Stopped"

    NO_ANSWER = "NoAnswer"
    UNHEALTHY = "Unhealthy"
    CERTIFICATE_NOT_TRUSTED = "CertificateNotTrusted"
    TOKEN_MISSING = "TokenMissing"  # noqa: S105 - a reason, no secret
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 - a reason, no secret

    LOADED = "Loaded"
    LOADING = "Loading"
    COLD = "Cold"
    WARM = "Warm"


class Condition(Wire):
    """One condition, as Kubernetes spells them."""

    type: ConditionType = Field(description="What it speaks of.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: int = Field(default=0, ge=0, description="The generation of the spec that it speaks of.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    reason: str = Field(
        min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", description="Why, for programs."
    )
    message: str = Field(default="", max_length=2048, description="Why, for people.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with its reason for programs and its sentence for people; what a condition is made of."""

    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str

    @property
    def holds(self) -> bool:
        """Whether the condition is true."""
        return self.status == "True"


def condition(
    kind: ConditionType, verdict: Verdict, *, generation: int, now: float, previous: Iterable[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The condition as it goes to the API server.

    `now` is in Unix seconds. The transition time is kept from `previous` (the conditions in the resource's status)
    unless the status changed.
    """
    before = next((each for each in previous if each.get("type") == kind), None)
    changed = before is None or before.get("status") != verdict.status or not before.get("lastTransitionTime")
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": kind.value,
        "status": verdict.status,
        "observedGeneration": generation,
        "lastTransitionTime": moment if changed or before is None else before["lastTransitionTime"],
        "reason": verdict.reason.value,
        "message": verdict.message[:2048],
    }
