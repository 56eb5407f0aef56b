"""Workers without a node that are waited for before that is called a trouble: callers wait too, and a trouble sends them away."""

from collections.abc import Iterable
from dataclasses import replace

from stoker_contracts.resources.conditions import Reason
from stoker_operator.domain.clock import seconds_since, seconds_until
from stoker_operator.domain.workers import Worker

TAINTED_SECONDS = 30.0
"""For how long it is waited for nodes that have a taint: a node that could not reach the API server carries one until its next
heartbeat (10 s), and the scheduler tries a pod again within 10 s of that."""
REMOVAL_SECONDS = 30.0
"""What a pod may take beyond the end of its grace to be gone. One that takes longer is stuck, as on a node that is lost."""


def patiently(workers: tuple[Worker, ...], now: float) -> list[Worker]:
    """The workers as they are told of: starting, while what they lack is on its way."""
    leaving = any(_leaves_within(each, now) for each in workers)
    return [_patient(each, now, leaving=leaving) if each.reason is Reason.UNSCHEDULABLE else each for each in workers]


def patience_ends(workers: Iterable[Worker], now: float) -> list[float]:
    """In how many seconds each of these waits will have been long enough."""
    waits = [wait(each, now) for each in workers for wait in (_leaves_within, _nodes_within)]
    return [each for each in waits if each]


def _patient(worker: Worker, now: float, *, leaving: bool) -> Worker:
    if leaving:  # with no spare card the new worker of a rollout has no node until the old one has finished
        return replace(worker, reason=Reason.STARTING, message=f"a worker waits while another finishes its jobs: {worker.message}")
    if _nodes_within(worker, now):
        return replace(worker, reason=Reason.STARTING, message=f"a worker waits for a node: {worker.message}")
    return worker


def _leaves_within(worker: Worker, now: float) -> float:
    """For how many seconds more a worker may be on its way out; 0 where it is not, or should be gone by now."""
    if worker.grace_ends is None:
        return 0.0
    return max(0.0, seconds_until(worker.grace_ends, now) + REMOVAL_SECONDS)


def _nodes_within(worker: Worker, now: float) -> float:
    """For how many seconds more it is waited for nodes that have a taint; 0 where it is not, or has been for long enough."""
    if worker.reason is not Reason.UNSCHEDULABLE or "untolerated taint" not in worker.message:
        return 0.0
    return max(0.0, TAINTED_SECONDS - seconds_since(worker.since, now))
