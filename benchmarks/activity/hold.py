"""``make bench-hold``: thousands of jobs held for a model without a worker, then released one by one by its only slot.

`kb_per_held` is what each held job adds to the orchestrator's memory, its connection and its read body of 250 bytes included;
`grown_mb` what ten quiet seconds with all of them in line add.
"""

import asyncio
import http
import itertools
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.activity.callers import Call, Callers, Outcome
from benchmarks.activity.workers import Worker, workers
from benchmarks.processes import BenchmarkError, free_port, rss_mb, running, two_cores, wait_for_port
from benchmarks.result import report, rounded, say
from e2e.command_line import command_line

REJECTED = 500
QUIET_SECONDS = 10
AT_MOST = {"kb_per_held": 20.0, "order_violations": 0, "rejected_off_by": 0}
_TOGETHER = 250
"""Jobs sent before a look whether all of them are in line."""


async def waiting(callers: Callers, port: int) -> int:
    """Jobs in line, as the orchestrator's metrics tell."""
    async with callers.session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        found = re.search(r'^stoker_jobs_waiting\{model="bench"\} ([0-9.]+)', await answer.text(), re.MULTILINE)
    return int(float(found[1])) if found else 0


async def held(callers: Callers, port: int, count: int) -> list[asyncio.Task[Outcome]]:
    """Send so many jobs, each after the one before is in line, so that their order is known."""
    tasks: list[asyncio.Task[Outcome]] = []
    while len(tasks) < count:
        for _ in range(min(_TOGETHER, count - len(tasks))):
            tasks.append(asyncio.create_task(callers.send(Call(len(tasks), 0, 0.0))))
            await asyncio.sleep(0.001)
        for _ in range(600):
            if await waiting(callers, port) == len(tasks):
                break
            await asyncio.sleep(0.05)
        else:
            message = f"only {await waiting(callers, port)} of {len(tasks)} jobs are held"
            raise BenchmarkError(message)
    return tasks


async def measured(port: int, pid: int, worker: Worker, count: int) -> dict[str, Any]:
    """Hold, reject, wait, release."""
    callers = Callers(port)
    try:
        before = rss_mb(pid)
        tasks = await held(callers, port, count)
        full = rss_mb(pid)
        refused = await asyncio.gather(*(callers.send(Call(count + number, 0, 0.0)) for number in range(REJECTED)))
        still = rss_mb(pid)
        await asyncio.sleep(QUIET_SECONDS)
        grown = rss_mb(pid) - still
        say(f"  {count} jobs are held; a worker starts")
        os.kill(pid, signal.SIGUSR1)
        answers = await asyncio.gather(*tasks)
    finally:
        await callers.session.close()
    if any(answer.status != http.HTTPStatus.OK for answer in answers):
        message = "a held job was not served"
        raise BenchmarkError(message)
    exact = sum(answer.status == http.HTTPStatus.TOO_MANY_REQUESTS and bool(answer.retry_after) for answer in refused)
    return {
        "held": count,
        "kb_per_held": rounded((full - before) * 1000 / count),
        "order_violations": sum(later < earlier for earlier, later in itertools.pairwise(worker.order)),
        "rejected_off_by": abs(exact - REJECTED),
        "grown_mb": rounded(grown),
        "most_in_flight": worker.most,
    }


async def run(count: int) -> dict[str, Any]:
    """Start everything and measure. Raises BenchmarkError."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-hold-") as folder:
        log = Path(folder) / "orchestrator.log"
        async with workers(1, capacity=1) as (worker,):
            command = [sys.executable, "-m", "benchmarks.activity.orchestrator", str(port), "1", str(count), worker.address]
            with running(command, two_cores()[1], log, {"COLD": "1"}) as pid:
                wait_for_port(port, log)
                return await measured(port, pid, worker, count)


def main() -> int:
    """Measure, say how it compares to the targets, print the result."""
    parser = command_line("benchmarks.activity.hold", __doc__, "make bench-hold")
    parser.add_argument("--held", type=int, default=5000, choices=range(1, 9001), metavar="1..9000", help="jobs to hold")
    held = parser.parse_args().held
    return report("bench-hold", lambda: asyncio.run(run(held)), {}, AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
