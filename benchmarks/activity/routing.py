"""``make bench-routing``: jobs whose costs differ a thousandfold, routed by Stoker, by turns, and to who has the fewest requests.

The same trace goes to the same workers three times: through the orchestrator, and through nginx with its round-robin and its
`least_conn` upstreams. A worker runs one job at a time; what it is sent beyond that waits there.
"""

import asyncio
import http
import os
import random
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.activity.callers import Call, Callers, Outcome
from benchmarks.activity.workers import Worker, workers
from benchmarks.processes import BenchmarkError, free_port, running, two_cores, wait_for_port
from benchmarks.proxy import nginx
from benchmarks.result import quantile, report, rounded, say
from e2e.command_line import command_line

WORKERS = 4
STEP_SECONDS = 0.001
LOAD = 0.75
"""Share of the workers' time that the trace takes."""
KINDS = (
    (0.70, 1, "1 step, 512²"),
    (0.20, 30, "30 steps, 512²"),
    (0.08, 120, "30 steps, 1024²"),
    (0.02, 1400, "25 frames, 1024×576"),
)
"""Share of the jobs, cost in steps of 512², words."""
SETTLE_SECONDS = 3.0
AT_MOST = {"p99_vs_best_peer": 0.55}
_CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    upstream workers {{ {method} {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://workers; proxy_read_timeout 600s; proxy_next_upstream off; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Router:
    """Something that spreads jobs over the workers."""

    name: str
    port: int


def trace(seconds: float) -> list[Call]:
    """Random arrivals of random kinds (seeded): every router gets the same."""
    chance = random.Random(11)  # noqa: S311 - a load, no secret
    mean = sum(share * steps for share, steps, _ in KINDS) * STEP_SECONDS
    calls: list[Call] = []
    at = 0.0
    while (at := at + chance.expovariate(LOAD * WORKERS / mean)) < seconds:
        (steps,) = chance.choices([steps for _, steps, _ in KINDS], [share for share, _, _ in KINDS])
        calls.append(Call(len(calls), at, steps * STEP_SECONDS, steps))
    return calls


@asynccontextmanager
async def routers(made: Sequence[Worker], folder: Path) -> AsyncIterator[list[Router]]:
    """The orchestrator and both forms of nginx over the same workers."""
    core = two_cores()[1]
    program, variables = nginx.program()
    addresses = [worker.address for worker in made]
    with ExitStack() as stack:
        found: list[Router] = []
        for name, method in (("stoker", ""), ("round_robin", ""), ("least_request", "least_conn;")):
            port, log = free_port(), folder / f"{name}.log"
            if name == "stoker":
                command = [sys.executable, "-m", "benchmarks.activity.orchestrator", str(port), "1", "100000", *addresses]
                stack.enter_context(running(command, core, log))
            else:
                config = folder / f"{name}.conf"
                servers = " ".join(f"server {address} max_fails=0;" for address in addresses)
                user = "user root;" if os.geteuid() == 0 else ""
                config.write_text(_CONFIG.format(folder=folder, name=name, port=port, method=method, servers=servers, user=user))
                stack.enter_context(running([program, "-p", folder, "-c", config], core, log, variables))
            wait_for_port(port, log)
            found.append(Router(name, port))
        yield found


async def measured(router: Router, calls: Sequence[Call]) -> list[Outcome]:
    """The trace through one router. Raises BenchmarkError where a job failed."""
    callers = Callers(router.port)
    try:
        outcomes = await callers.play(calls)
    finally:
        await callers.session.close()
    failed = [each.status for each in outcomes if each.status != http.HTTPStatus.OK]
    if failed:
        message = f"{len(failed)} jobs failed through {router.name}, the first with {failed[0]}"
        raise BenchmarkError(message)
    return outcomes


def figures(found: dict[str, list[Outcome]]) -> dict[str, Any]:
    """The ratio, and what it is made of."""
    p99 = {name: quantile([each.seconds for each in outcomes], 0.99) for name, outcomes in found.items()}
    best = min(seconds for name, seconds in p99.items() if name != "stoker")
    return {
        "p99_vs_best_peer": rounded(p99["stoker"] / best),
        "jobs": len(found["stoker"]),
        "p99_s": {name: rounded(seconds) for name, seconds in p99.items()},
        "mean_s": {name: rounded(statistics.mean(each.seconds for each in outcomes)) for name, outcomes in found.items()},
        "p99_s_by_kind": {name: _by_kind(outcomes) for name, outcomes in found.items()},
    }


def _by_kind(outcomes: Sequence[Outcome]) -> dict[str, float]:
    kinds = {words: [each.seconds for each in outcomes if each.call.steps == steps] for _, steps, words in KINDS}
    return {words: rounded(quantile(seconds, 0.99)) for words, seconds in kinds.items() if seconds}


async def run(seconds: float) -> dict[str, Any]:
    """Start everything and measure. Raises BenchmarkError."""
    calls = trace(seconds)
    found: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-routing-") as folder:
        async with workers(WORKERS, capacity=1) as made, routers(made, Path(folder)) as known:
            for router in known:
                say(f"  {len(calls)} jobs through {router.name}")
                found[router.name] = await measured(router, calls)
                await asyncio.sleep(SETTLE_SECONDS)
    return figures(found)


def main() -> int:
    """Measure, say how it compares to the targets, print the result."""
    parser = command_line("benchmarks.activity.routing", __doc__, "make bench-routing")
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the trace")
    seconds = parser.parse_args().seconds
    return report("bench-routing", lambda: asyncio.run(run(seconds)), {}, AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
