"""``make bench-readiness``: how soon the orchestrator follows what the kubelet finds, on a kind cluster.

Workers are stopped and resumed by signals, and deleted, so that their pods turn not ready and ready again through the real
probes. Measured is the time from the moment a watch of the API server tells of the pod to the moment the orchestrator's event
stream tells of it, both read by this program. Jobs flow all the while, and none may fail.
"""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.cluster import stub_release
from benchmarks.readiness.watches import History, watching
from benchmarks.result import quantile, report, rounded, say
from e2e.command_line import command_line
from e2e.commands import CommandError
from e2e.release import Release
from e2e.scenarios.processes import resumed, signal_pod
from e2e.scenarios.resources import model_deployment, pods
from e2e.scenarios.traffic import traffic

MODELS = tuple(f"flip-{number}" for number in range(4))
ROUNDS = 7
DELETIONS = 2
FLIP_SECONDS = 90.0
AT_LEAST = {"flips": 50}
AT_MOST = {"in_p95_ms": 100, "out_p95_ms": 100, "failed_jobs": 0}


def main() -> int:
    """Measure on a cluster of its own; ``KEEP=1`` leaves it up."""
    command_line("benchmarks.readiness.run", __doc__, "make bench-readiness KEEP=1").parse_args()
    return report("bench-readiness", _measured, AT_LEAST, AT_MOST)


def _measured() -> dict[str, float]:
    with stub_release() as release:
        return _measure(release)


def _measure(release: Release) -> dict[str, float]:
    release.apply(*[model_deployment(name, warm=True) for name in MODELS])
    with watching(release) as (seen, told):
        _settle(seen, told, up=True)
        seen.forget()
        told.forget()
        with traffic(release, f"org/{MODELS[0]}") as jobs:
            for number in range(ROUNDS):
                _flip(release, seen, told, delete=number < DELETIONS)
                say(f"  round {number + 1} of {ROUNDS}")
    for words, count in jobs.failed.items():
        say(f"  {count} jobs failed: {words}")
    coming, going = (_delays_ms(seen, told, up=up) for up in (True, False))
    return {
        "in_p95_ms": rounded(quantile(coming, 0.95)),
        "out_p95_ms": rounded(quantile(going, 0.95)),
        "in_p50_ms": rounded(quantile(coming, 0.5)),
        "out_p50_ms": rounded(quantile(going, 0.5)),
        "flips": len(coming) + len(going),
        "jobs": sum(jobs.outcomes.values()),
        "failed_jobs": sum(jobs.failed.values()),
    }


def _flip(release: Release, seen: History, told: History, *, delete: bool) -> None:
    """Every model goes down and comes up again, once."""
    workers = [str(pods(release, name)[0]["metadata"]["name"]) for name in MODELS]
    before = len(told.moments(MODELS[-1], up=False))
    if delete:
        for worker in workers:
            release.delete("pod", worker, "--wait=false")
        _until(lambda: all(len(told.moments(name, up=False)) > before for name in MODELS))
    else:
        with ExitStack() as stack:
            for worker in workers:
                stack.enter_context(resumed(release, worker))
                signal_pod(release, worker, "STOP")
            _settle(seen, told, up=False)
    _settle(seen, told, up=True)


def _settle(seen: History, told: History, *, up: bool) -> None:
    """Wait until pods and offers agree that every model is up, or is not."""
    _until(lambda: all(history.is_up(name) is up for name in MODELS for history in (seen, told)))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FLIP_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            message = f"the workers did not come or go within {FLIP_SECONDS:.0f} s"
            raise CommandError(message)
        time.sleep(0.01)


def _delays_ms(seen: History, told: History, *, up: bool) -> list[float]:
    """Milliseconds from each change of a pod to that of its model's offer; 0 where the offer was read first."""
    pairs = [pair for name in MODELS for pair in zip(seen.moments(name, up=up), told.moments(name, up=up), strict=True)]
    return [max(0.0, offer - pod) * 1000 for pod, offer in pairs]


if __name__ == "__main__":
    sys.exit(main())
