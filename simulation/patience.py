"""How long jobs have waited, counted apart from the lines: while their model had a worker, and while it had none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulation.bounds import ViolationError

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator
    from simulation.task import Task

_ROUNDING = 1e-6


@dataclass(slots=True)
class _Clocks:
    """Seconds with a worker and without one, until `turned`."""

    turned: float
    is_warm: bool
    warm: float = 0.0
    cold: float = 0.0

    def turn(self, now: float, *, is_warm: bool) -> None:
        if self.is_warm:
            self.warm += now - self.turned
        else:
            self.cold += now - self.turned
        self.turned, self.is_warm = now, is_warm


class Patience:
    """The clocks of all models of one orchestrator that somebody waits for."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._clocks: dict[str, _Clocks] = {}
        self._asked: dict[int, tuple[Task, float, float, float]] = {}

    def asked(self, task: Task, ticket: int) -> None:
        """A job begins to wait."""
        clocks = self.turn(task.model.name)
        patience = task.model.start_timeout if task.ask.patience is None else max(0.0, task.ask.patience)
        self._asked[ticket] = task, patience, clocks.warm, clocks.cold

    def left(self, ticket: int) -> None:
        """It waits no longer."""
        self._asked.pop(ticket, None)
        if not self._asked:
            self._clocks.clear()

    def looked(self, name: str) -> None:
        """Something about a model may have changed."""
        if name in self._clocks:
            self.turn(name)

    def turn(self, name: str) -> _Clocks:
        """The clocks of a model as they are now."""
        now, is_warm = self._orchestrator.now, self._orchestrator.board.registry.is_warm(name)
        clocks = self._clocks.setdefault(name, _Clocks(now, is_warm))
        clocks.turn(now, is_warm=is_warm)
        return clocks

    def check(self) -> None:
        """Raises ViolationError where a job waits beyond its own patience, or a cold start beyond its model's."""
        for name in list(self._clocks):
            self.turn(name)
        for task, patience, warm, cold in self._asked.values():
            clocks, longest = self._clocks[task.model.name], task.model.start_timeout
            if clocks.warm - warm > patience + _ROUNDING or clocks.cold - cold > longest + _ROUNDING:
                words = f"job {task.job.number} waits for {task.model.name} beyond its patience or a cold start"
                raise ViolationError(words)
