"""The states of a worker, and what each means for probes and jobs."""

from dataclasses import dataclass, replace
from enum import StrEnum

from stoker_contracts.worker import HealthState
from stoker_worker.domain.line import Refusal


class State(StrEnum):
    """Where a worker stands in its life."""

    LOADING = "loading"
    READY = "ready"
    PARKED = "parked"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A worker's state; every change gives a new one. Failure is final, and draining never turns back."""

    state: State = State.LOADING

    def loaded(self) -> "Lifecycle":
        """The model is in memory."""
        return replace(self, state=State.READY) if self.state is State.LOADING else self

    def parked(self) -> "Lifecycle":
        """The weights have left the device; the next job brings them back."""
        return replace(self, state=State.PARKED) if self.state is State.READY else self

    def unparked(self) -> "Lifecycle":
        """The weights are back."""
        return replace(self, state=State.READY) if self.state is State.PARKED else self

    def drained_from_now(self) -> "Lifecycle":
        """The worker was asked to stop: finish what is there, take nothing new."""
        return self if self.state is State.FAILED else replace(self, state=State.DRAINING)

    def failed(self) -> "Lifecycle":
        """The model cannot be used any more."""
        return replace(self, state=State.FAILED)

    @property
    def ready(self) -> bool:
        """Whether a job sent now is taken, the line permitting."""
        return self.state in (State.READY, State.PARKED)

    @property
    def refusal(self) -> Refusal | None:
        """Why no job is taken in this state; None when jobs are taken."""
        match self.state:
            case State.READY | State.PARKED:
                return None
            case State.LOADING:
                return Refusal.LOADING
            case State.DRAINING:
                return Refusal.DRAINING
            case State.FAILED:
                return Refusal.FAILED

    def health(self, in_flight: int) -> HealthState:
        """What ``/health`` says, in the words of Livepeer's runner."""
        match self.state:
            case State.LOADING:
                return HealthState.LOADING
            case State.FAILED:
                return HealthState.ERROR
            case State.READY | State.PARKED | State.DRAINING:
                return HealthState.OK if in_flight else HealthState.IDLE
