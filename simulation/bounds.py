"""That memory is in proportion to what lives: whatever the domain keeps is about a model, an endpoint or a job that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.orchestrator import Orchestrator

_FEW = 300
"""What a line may keep beside those who wait."""


class ViolationError(Exception):
    """An invariant does not hold."""


def check_bounds(orchestrator: Orchestrator, jobs: int) -> None:
    """`jobs` are those under way. Raises ViolationError where something is kept that nobody needs any more."""
    board, registry = orchestrator.board, orchestrator.board.registry
    endpoints, models = registry._endpoints, registry._models
    live = len(endpoints) + jobs
    _at_most("endpoints", len(endpoints), len(orchestrator.watch.known))
    _at_most("endpoints by model", sum(map(len, registry._of_model.values())), len(endpoints))
    _at_most("busy endpoints", len(registry._busy), jobs)
    _at_most("records of endpoints", len(board.outliers._records), live)
    _at_most("watched endpoints", len(board.outliers._watched), len(endpoints))
    _at_most("lines", len(board._lines), len(models) + jobs)
    _at_most("start times", len(registry._start_seconds), len(models))
    if board.told is None:
        _at_most("rates", len(registry.rates._seen), len(models))
    _at_most("second tries", orchestrator.budget.under_way, len(orchestrator.tasks))
    _at_most("departed endpoints", len(registry._departed), jobs)
    for name, line in board._lines.items():
        order = line._order
        _at_most(f"entries of the line of {name}", max(len(order._owners), len(order._turns)), len(line))
        _at_most(f"callers of the line of {name}", len(order._callers) + len(order._ends), 4 * len(line) + _FEW)


def _at_most(what: str, there: int, allowed: int) -> None:
    if there > allowed:
        words = f"{there} {what} are kept where {allowed} can be of use"
        raise ViolationError(words)
