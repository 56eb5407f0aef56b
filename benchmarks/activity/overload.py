"""``make bench-overload``: ten times what the workers can do, for a minute.

Goodput is what was answered well during that minute, as a share of what the workers can do; `recovery_s` the time from its end
until jobs are answered as fast as before it, for a whole second. Callers give each job five seconds, as `Stoker-Timeout` says.
"""

import asyncio
import http
import itertools
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.activity.callers import Call, Callers, Outcome
from benchmarks.activity.workers import workers
from benchmarks.processes import BenchmarkError, free_port, running, two_cores, wait_for_port
from benchmarks.result import quantile, report, rounded, say
from e2e.command_line import command_line

WORKERS, CAPACITY, JOB_SECONDS = 4, 2, 0.1
MOST = WORKERS * CAPACITY / JOB_SECONDS
"""Jobs that the workers can do in a second."""
NORMAL = MOST / 2
PATIENCE = 5.0
BEFORE_SECONDS, AFTER_SECONDS = 10.0, 20.0
AT_LEAST = {"goodput": 0.9}
AT_MOST = {"reject_p99_ms": 50.0, "recovery_s": 10.0}
_AS_BEFORE = 2.0
"""A second is normal again when its median latency is at most so many times that of the normal load before."""


def trace(overload_seconds: float) -> Iterator[Call]:
    """Normal load, ten times the most, normal load again; arrivals are random (seeded)."""
    chance = random.Random(5)  # noqa: S311 - a load, no secret
    end = BEFORE_SECONDS + overload_seconds + AFTER_SECONDS
    at = 0.0
    for number in itertools.count():
        over = BEFORE_SECONDS <= at < BEFORE_SECONDS + overload_seconds
        at += chance.expovariate(MOST * 10 if over else NORMAL)
        if at >= end:
            return
        yield Call(number, at, JOB_SECONDS, steps=20)


def figures(outcomes: Sequence[Outcome], overload_seconds: float) -> dict[str, Any]:
    """What the trace came to. Raises BenchmarkError where a job ended in a way that nobody is promised."""
    typed = {http.HTTPStatus.OK, http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE}
    strange = [
        each for each in outcomes if each.status not in typed or (each.status != http.HTTPStatus.OK and not each.retry_after)
    ]
    if strange:
        message = (
            f"{len(strange)} jobs ended otherwise than with 200, 429 or 503 with Retry-After; the first with {strange[0].status}"
        )
        raise BenchmarkError(message)
    over = BEFORE_SECONDS + overload_seconds
    good = [each for each in outcomes if each.status == http.HTTPStatus.OK]
    in_time = [each for each in good if BEFORE_SECONDS <= each.call.at + each.seconds < over]
    rejected = [each.seconds for each in outcomes if each.status != http.HTTPStatus.OK and BEFORE_SECONDS <= each.call.at < over]
    return {
        "goodput": rounded(len(in_time) / (MOST * overload_seconds)),
        "reject_p99_ms": rounded(quantile(rejected, 0.99) * 1000),
        "recovery_s": _recovery(outcomes, over),
        "rejected": len(rejected),
        "answered": len(good),
        "offered_per_s": rounded(sum(BEFORE_SECONDS <= each.call.at < over for each in outcomes) / overload_seconds),
    }


def _recovery(outcomes: Sequence[Outcome], over: float) -> float:
    usual = quantile([each.seconds for each in outcomes if each.call.at < BEFORE_SECONDS], 0.5)
    for second in range(int(AFTER_SECONDS)):
        sent = [each for each in outcomes if second <= each.call.at - over < second + 1]
        served = all(each.status == http.HTTPStatus.OK for each in sent)
        if served and quantile([each.seconds for each in sent], 0.5) <= usual * _AS_BEFORE:
            return float(second)
    return AFTER_SECONDS


async def run(overload_seconds: float) -> dict[str, Any]:
    """Start everything and measure. Raises BenchmarkError."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-overload-") as folder:
        log = Path(folder) / "orchestrator.log"
        async with workers(WORKERS, CAPACITY) as made:
            addresses = [worker.address for worker in made]
            command = [sys.executable, "-m", "benchmarks.activity.orchestrator", str(port), str(CAPACITY), "1000", *addresses]
            with running(command, two_cores()[1], log):
                wait_for_port(port, log)
                callers = Callers(port, {"stoker-timeout": str(PATIENCE)})
                say(f"  {MOST:g} jobs a second can be done; {MOST * 10:g} are sent for {overload_seconds:g} s")
                outcomes = await callers.play(trace(overload_seconds))
                await callers.session.close()
    return figures(outcomes, overload_seconds) | {"most_in_flight": max(worker.most for worker in made), "capacity": CAPACITY}


def main() -> int:
    """Measure, say how it compares to the targets, print the result."""
    parser = command_line("benchmarks.activity.overload", __doc__, "make bench-overload")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long ten times the most is sent")
    seconds = parser.parse_args().seconds
    return report("bench-overload", lambda: asyncio.run(run(seconds)), AT_LEAST, AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
