"""Jobs, and the callers who send them."""

from collections.abc import Callable
from dataclasses import dataclass

from simulation.heap import Heap
from simulation.plan import Plan

_UNITS = (0.3, 2.0, 10.0, 30.0, 120.0)
"""Declared cost: from one step of a small picture to a short video."""
_WEIGHTS = (4, 6, 6, 3, 1)


@dataclass(slots=True, eq=False)
class Job:
    """What a caller sends. `timeout` is in seconds, cold starts not counted; `patience` is after how many it hangs up."""

    number: int
    model: str
    caller: str
    cost: float
    timeout: float | None
    patience: float | None
    poison: bool
    fingerprint: bytes
    ended: str = ""
    """How it ended; empty until then."""


class Callers:
    """Send jobs to whoever `submit` gives them to, until the plan's traffic ends."""

    def __init__(self, heap: Heap, plan: Plan, submit: Callable[[Job], None]) -> None:
        self._heap = heap
        self._plan = plan
        self._submit = submit
        self._sent = 0

    def start(self, models: list[str]) -> None:
        """Begin to send jobs for these models."""
        for model in models:
            self._heap.at(self._plan.traffic_from, self._next, model)

    def _next(self, model: str) -> None:
        traffic = self._plan.traffic
        self._heap.after(self._heap.chance.expovariate(traffic.jobs_per_second / traffic.burst), self._send, model)

    def _send(self, model: str) -> None:
        if self._heap.now > self._plan.traffic_until:
            return
        for _ in range(self._plan.traffic.burst):
            self._submit(self._job(model))
        self._next(model)

    def _job(self, model: str) -> Job:
        chance, traffic = self._heap.chance, self._plan.traffic
        self._sent += 1
        poison = chance.random() < traffic.poison
        return Job(
            number=self._sent,
            model=model,
            caller=f"caller-{chance.randrange(traffic.callers)}",
            cost=chance.choices(_UNITS, _WEIGHTS)[0],
            timeout=chance.uniform(*traffic.patience) if chance.random() < traffic.timeouts else None,
            patience=chance.expovariate(1 / traffic.patience[1]) if chance.random() < traffic.hang_up else None,
            poison=poison,
            fingerprint=b"poison-%d" % chance.randrange(3) if poison else b"%d" % self._sent,
        )
