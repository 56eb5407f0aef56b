"""Many worlds, in several processes; the result does not depend on how many there are."""

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from simulation.plan import draw
from simulation.world import Report, World


def run_small(seed: int) -> Report:
    """The small world of a seed."""
    return World(draw(seed)).run()


def reports(seeds: Iterable[int], processes: int) -> Iterator[Report]:
    """The worlds of these seeds, in the order of the seeds."""
    if processes == 1:
        yield from map(run_small, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(run_small, seeds, chunksize=4)


@dataclass(slots=True)
class Summary:
    """What many worlds came to."""

    worlds: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Report] = field(default_factory=list)
    _hash: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=8))

    def add(self, report: Report) -> None:
        """One more world."""
        self.worlds += 1
        self.steps += report.steps
        self.counts.update(report.counts)
        self._hash.update(report.hash.encode())
        if report.violation:
            self.violations.append(report)

    @property
    def hash(self) -> str:
        """Of all their traces."""
        return self._hash.hexdigest()
