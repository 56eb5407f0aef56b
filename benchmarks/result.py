"""What all benchmarks share: quantiles, targets, and the one line of JSON that each prints last."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.processes import BenchmarkError
from e2e.commands import CommandError


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of `values` do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def rounded(value: float, digits: int = 3) -> float:
    """A figure with so many significant digits."""
    return 0.0 if value == 0 else round(value, digits - 1 - math.floor(math.log10(abs(value))))


def say(words: str) -> None:
    """Tell a person something beside the result."""
    print(words, file=sys.stderr, flush=True)


def compare(figures: Mapping[str, float | None], least: Mapping[str, float], most: Mapping[str, float]) -> None:
    """Say which figures miss their target."""
    for name, target in {**least, **most}.items():
        value = figures[name]
        met = value is not None and (value >= target if name in least else value <= target)
        say(f"  {name:<28}{'none' if value is None else value:>10}   target {'≥' if name in least else '≤'} {target:g}"
            f"{'' if met else '   MISSED'}")  # fmt: skip


def print_result(result: Mapping[str, Any]) -> None:
    """The last line: one JSON object on standard output."""
    print(json.dumps(result), flush=True)


def report(target: str, measured: Callable[[], Mapping[str, Any]], least: Mapping[str, float], most: Mapping[str, float]) -> int:
    """Measure, say how the figures compare to what they are to be, print them; the exit code."""
    try:
        figures = measured()
    except (BenchmarkError, CommandError) as error:
        say(f"{target}: {error}")
        return 1
    compare(figures, least, most)
    print_result(figures)
    return 0
