"""What became of one job."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job has no result: a kind out of few, and the words of whoever refused it."""

    kind: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one job.

    `pictures` are images, or frames of a video. `queue_ms` and `cold` are what the answer's headers say. `stages` are seconds by
    name where they are known.
    """

    pictures: int = 0
    failure: Failure | None = None
    queue_ms: float | None = None
    cold: bool = False
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One job that has ended, with times in seconds after the start of the measurement."""

    kind: str
    due: float
    sent: float
    ended: float
    reply: Reply = Reply()

    @property
    def latency(self) -> float:
        """Seconds since the job was due: a caller that is late makes nobody faster."""
        return self.ended - self.due

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.reply.failure is None
