"""The waiting line of a model: order kept, one job for each free slot, nobody longer than the deadline."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in line. `deadline` is a moment on the caller's clock, in seconds; `excluded` are endpoints it must not meet."""

    ticket: int
    cost: float
    deadline: float
    excluded: Collection[str] = ()


@dataclass(slots=True)
class Line:
    """First come, first served."""

    jobs: dict[int, Waiting] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(list(self.jobs.values()))

    def join(self, job: Waiting) -> None:
        """Stand at the end."""
        self.jobs[job.ticket] = job

    def leave(self, ticket: int) -> Waiting | None:
        """The job is served, or its caller is gone."""
        return self.jobs.pop(ticket, None)

    def expired(self, now: float) -> list[Waiting]:
        """The jobs whose time is over; they leave the line."""
        late = [job for job in self.jobs.values() if job.deadline <= now]
        for job in late:
            del self.jobs[job.ticket]
        return late
