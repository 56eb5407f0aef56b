"""Two ways to do the same, timed in turns."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.result import rounded

ROUNDS = 7
LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timer:
    """Seconds until the device is done. On a CPU a call is done when it returns."""

    torch: Any
    device: str

    def settle(self) -> None:
        """Wait until nothing runs any more."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def seconds(self, body: Callable[[], Any]) -> float:
        """How long one call takes."""
        self.settle()
        began = time.perf_counter()
        body()
        self.settle()
        return time.perf_counter() - began

    def median(self, body: Callable[[], Any], calls: int) -> float:
        """The median of so many calls."""
        return statistics.median(self.seconds(body) for _ in range(calls))


@dataclass(frozen=True, slots=True)
class Duel:
    """Seconds of each, by round."""

    stock: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast ours is: the median of the rounds' ratios, since both of a round met the same machine."""
        return rounded(statistics.median(stock / ours for stock, ours in zip(self.stock, self.ours, strict=True)))

    @property
    def spread(self) -> list[float]:
        """The least and the greatest ratio of a round."""
        ratios = [stock / ours for stock, ours in zip(self.stock, self.ours, strict=True)]
        return [rounded(min(ratios)), rounded(max(ratios))]

    def raw(self) -> dict[str, Any]:
        """What was seen."""
        return {
            "stock_s": rounded(statistics.median(self.stock)),
            "ours_s": rounded(statistics.median(self.ours)),
            "spread": self.spread,
            "rounds": len(self.stock),
        }


def duel(stock: Callable[[], float], ours: Callable[[], float], rounds: int, seconds: float) -> Duel:
    """Rounds in which each goes once, the one that goes first alternating; no new one after so many seconds and five rounds."""
    seen: dict[str, list[float]] = {"stock": [], "ours": []}
    sides = [("stock", stock), ("ours", ours)]
    deadline = time.monotonic() + seconds
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.monotonic() > deadline:
            break
        for name, measure in sides if number % 2 == 0 else reversed(sides):
            seen[name].append(measure())
    return Duel(seen["stock"], seen["ours"])
