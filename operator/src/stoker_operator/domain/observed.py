"""Everything that a reconcile has read of one ModelDeployment, at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import ValidationError

from stoker_contracts import names
from stoker_contracts.resources.conditions import Reason
from stoker_contracts.resources.endpoints import EndpointPhase, EndpointStatus
from stoker_operator.domain.release import WorkerDefaults
from stoker_operator.domain.wanted import SpecError, Wanted, wanted
from stoker_operator.domain.workers import Worker, workers

Item = Mapping[str, Any]


class Ownership(Enum):
    """Whose the Deployment of the resource's name is."""

    ABSENT = auto()
    OURS = auto()
    FORMER = auto()
    """Left by an earlier resource of the same name, or on its way out; the garbage collector removes it."""
    FOREIGN = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server's answer to the Deployment that was to be applied: an HTTP code and its words."""

    code: int
    message: str

    @property
    def of_quota(self) -> bool:
        """Whether a ResourceQuota was in the way."""
        return "exceeded quota" in self.message


@dataclass(frozen=True, slots=True)
class Observed:
    """A ModelDeployment and what belongs to it. `wanted` is None where the spec cannot be read; then `problem` says why."""

    resource: Item
    deployment: Item | None
    workers: tuple[Worker, ...]
    claim: Item | None
    """The PersistentVolumeClaim with the weights; None where there is none of this name, or none is asked for."""
    wanted: Wanted | None
    problem: str = ""
    refusal: Refusal | None = None

    @property
    def name(self) -> str:
        """The resource's name, and its Deployment's."""
        return str(self.resource["metadata"]["name"])

    @property
    def uid(self) -> str:
        """The resource's identity."""
        return str(self.resource["metadata"]["uid"])

    @property
    def generation(self) -> int:
        """The generation of the spec that was read."""
        return int(self.resource["metadata"].get("generation", 0))

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """The conditions as they stand in the resource's status."""
        return list((self.resource.get("status") or {}).get("conditions") or [])

    @property
    def ready(self) -> tuple[Worker, ...]:
        """The workers that take jobs."""
        return tuple(each for each in self.workers if each.ready)

    @property
    def standing(self) -> tuple[Worker, ...]:
        """The workers that were not asked to stop."""
        return tuple(each for each in self.workers if each.reason is not Reason.STOPPED)

    @property
    def places(self) -> int:
        """How many containers that somebody else runs are named."""
        external = self.wanted.spec.external if self.wanted else None
        return len(external.endpoints) if external else 0

    @property
    def external(self) -> bool:
        """Whether somebody else runs the workers."""
        return self.places > 0

    @property
    def endpoints(self) -> tuple[EndpointStatus, ...]:
        """What the orchestrator tells of the containers that this generation of the spec names, in their order."""
        told = (self.resource.get("status") or {}).get("endpoints") or []
        read = sorted((each for item in told if (each := _endpoint(item)) is not None), key=lambda each: each.index)
        return tuple(each for each in read if each.observed_generation == self.generation and each.index < self.places)

    @property
    def taking(self) -> tuple[EndpointStatus, ...]:
        """The containers that take jobs."""
        return tuple(each for each in self.endpoints if each.state is EndpointPhase.READY)

    @property
    def awaits_claim(self) -> bool:
        """Whether the weights are to be on a PersistentVolumeClaim that is not there, or not usable, yet."""
        weights = self.wanted.weights if self.wanted else None
        bound = ((self.claim or {}).get("status") or {}).get("phase") == "Bound"
        return weights is not None and weights.claim is not None and not bound

    @property
    def ownership(self) -> Ownership:
        """Whose the Deployment is. One with our label and no owner is ours: somebody removed the reference."""
        if self.deployment is None:
            return Ownership.ABSENT
        metadata = self.deployment["metadata"]
        owner = next((each for each in metadata.get("ownerReferences") or [] if each.get("controller")), None)
        labelled = (metadata.get("labels") or {}).get(names.LABEL_MODEL_DEPLOYMENT) == self.name
        if owner is None:
            return Ownership.OURS if labelled else Ownership.FOREIGN
        if owner.get("uid") == self.uid:
            return Ownership.FORMER if metadata.get("deletionTimestamp") else Ownership.OURS
        former = owner.get("kind") == names.KIND and owner.get("name") == self.name
        return Ownership.FORMER if former else Ownership.FOREIGN


def observed(
    resource: Item, release: WorkerDefaults, deployment: Item | None = None, pods: Iterable[Item] = (), claim: Item | None = None
) -> Observed:
    """Put together what was read."""
    try:
        asked = wanted(resource["spec"], release)
    except SpecError as error:
        return Observed(resource, deployment, (), None, None, problem=str(error))
    uid = resource["metadata"]["uid"]
    ours = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(names.LABEL_RESOURCE_UID) == uid]
    return Observed(resource, deployment, workers(_living(ours), asked), claim, asked)


def _endpoint(item: Item) -> EndpointStatus | None:
    """What an orchestrator tells of one container; None where it is of a version that says something else."""
    try:
        return EndpointStatus.model_validate(item)
    except ValidationError:
        return None


def _living(pods: Iterable[Item]) -> list[Item]:
    """The pods that have not ended; where there is none, the last one that failed: it tells why."""
    by_age = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    phases = [(pod, (pod.get("status") or {}).get("phase")) for pod in by_age]
    living = [pod for pod, phase in phases if phase not in ("Succeeded", "Failed")]
    return living or [pod for pod, phase in phases if phase == "Failed"][-1:]
