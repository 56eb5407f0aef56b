"""``make bench-proxy``: the orchestrator's job path beside nginx, caddy and two FastAPI proxies, in one run.

Stoker is measured as its image has it, with a compiled job path, and once more as the interpreter runs it.

The callers and the upstream share one core, each proxy has the other to itself while it is measured. Rounds are interleaved, so
that a disturbance meets all proxies alike; the figures are medians of the rounds, the targets are ratios.

The added latencies are of requests at a fixed rate, each timed from the moment at which it was due: through the orchestrator minus
straight to the upstream.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import (
    BenchmarkError,
    cpu_seconds,
    free_port,
    peak_rss_mb,
    running,
    two_cores,
    wait_for_port,
)
from benchmarks.proxy import caddy, ends, nginx
from benchmarks.result import report, rounded, say
from e2e.cache import cache_dir, content_key, made
from e2e.command_line import command_line
from e2e.commands import CommandError, run
from tools.compiled import compiled

HERE = Path(__file__).parent
AT_LEAST = {
    "small_vs_nginx": 0.35,
    "small_vs_peer": 2.0,
    "small_vs_fastapi_httpx": 30.0,
    "large_vs_nginx": 0.65,
    "both_vs_nginx": 1.0,
}
AT_MOST = {"rss_mb": 120.0, "added_p50_ms": 0.5, "added_p95_ms": 5.0}


@dataclass(slots=True)
class Peer:
    """A proxy under measurement, or the upstream itself.

    `rates` has requests per second for each case and round, `cpu_ms` CPU time per request, `times_ms` quantiles of latency.
    """

    name: str
    port: int
    pid: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    times_ms: dict[str, list[dict[str, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything runs."""

    load: Path
    outer: int
    inner: int
    folder: Path
    upstream: int

    @contextmanager
    def peer(self, name: str, command: list[str | Path], port: int, env: dict[str, str] | None = None) -> Iterator[Peer]:
        """A proxy on the inner core, listening."""
        log = self.folder / f"{name}.log"
        with running(command, self.inner, log, env) as pid:
            wait_for_port(port, log)
            yield Peer(name, port, pid)

    def python(self, name: str, *more: str) -> tuple[list[str | Path], int]:
        """One of the Python proxies beside this file, and its port."""
        port = free_port()
        return [sys.executable, "-m", f"benchmarks.proxy.{name}", str(port), str(self.upstream), *more], port

    def nginx(self) -> tuple[list[str | Path], int, dict[str, str]]:
        """nginx, its port and its variables. Raises BenchmarkError."""
        port = free_port()
        program, env = nginx.program()
        return [program, *nginx.configured(self.folder, port, self.upstream)], port, env

    def caddy(self) -> tuple[list[str | Path], int, dict[str, str]]:
        """caddy, its port and its variables. Raises BenchmarkError."""
        port = free_port()
        arguments, env = caddy.configured(self.folder, port, self.upstream)
        return [caddy.program(), *arguments], port, env

    def measure(self, peer: Peer, case: ends.Case) -> None:
        """One round of one case."""
        before = cpu_seconds(peer.pid)
        result = ends.call(self.load, self.outer, peer.port, case)
        used = cpu_seconds(peer.pid) - before
        peer.rates.setdefault(case.name, []).append(result["requests"] / result["seconds"])
        peer.cpu_ms.setdefault(case.name, []).append(used * 1000 / result["requests"])
        peer.times_ms.setdefault(case.name, []).append({name: result[name] for name in ("p50_ms", "p95_ms", "p99_ms")})


def httpx() -> str:
    """The folder with httpx, which the project itself does without."""
    locked = HERE / "httpx.txt"

    def install(folder: Path) -> None:
        uv = cache_dir() / "bootstrap" / "uv" / "bin" / "uv"
        words: list[str | Path] = ["--quiet", "--no-deps", "--require-hashes", "--requirement", locked]
        run(uv, "pip", "install", "--python", sys.executable, "--target", folder, *words)

    try:
        return str(made("bench-httpx", content_key(locked), install))
    except CommandError as error:
        message = f"httpx cannot be installed beside the project: {error}"
        raise BenchmarkError(message) from None


def compiled_orchestrator() -> str:
    """The folder of the orchestrator as its image has it."""
    try:
        return str(compiled())
    except CommandError as error:
        message = f"the orchestrator cannot be compiled: {error}"
        raise BenchmarkError(message) from None


def measured(rounds: int) -> dict[str, Any]:
    """Run everything. Raises BenchmarkError."""
    outer, inner = two_cores()
    load = ends.program()
    with tempfile.TemporaryDirectory(prefix="bench-proxy-") as scratch, ExitStack() as stack:
        upstream = free_port()
        log = Path(scratch) / "upstream.log"
        pid = stack.enter_context(running([load, "upstream", f"-listen=127.0.0.1:{upstream}"], outer, log))
        wait_for_port(upstream, log)
        bench = Bench(load, outer, inner, Path(scratch), upstream)
        peers = [
            stack.enter_context(bench.peer("stoker", *bench.python("orchestrator"), {"PYTHONPATH": compiled_orchestrator()})),
            stack.enter_context(bench.peer("nginx", *bench.nginx())),
            stack.enter_context(bench.peer("caddy", *bench.caddy())),
            stack.enter_context(bench.peer("interpreted", *bench.python("orchestrator"))),
            stack.enter_context(bench.peer("fastapi_httpx", *bench.python("fastapi_httpx", "httpx"), {"PYTHONPATH": httpx()})),
            stack.enter_context(bench.peer("fastapi_httpx2", *bench.python("fastapi_httpx", "httpx2"))),
        ]
        return _rounds(bench, peers, Peer("direct", upstream, pid), rounds)


def _rounds(bench: Bench, peers: list[Peer], direct: Peer, rounds: int) -> dict[str, Any]:
    stoker, nginx_peer = peers[:2]
    for peer in peers:
        ends.call(bench.load, bench.outer, peer.port, ends.WARM_UP)
    for number in range(rounds):
        order = 1 if number % 2 == 0 else -1
        for peer in peers[::order]:
            bench.measure(peer, ends.SMALL)
        for peer in (stoker, nginx_peer)[::order]:
            bench.measure(peer, ends.LARGE)
            bench.measure(peer, ends.BOTH)
        for peer in (stoker, direct)[::order]:
            bench.measure(peer, ends.CALM)
            bench.measure(peer, ends.BUSY)
        say(f"  round {number + 1} of {rounds}")
    ends.call(bench.load, bench.outer, stoker.port, ends.LARGE, together=True)
    figures = _ratios({peer.name: peer for peer in peers}) | _added(stoker, direct) | {"rss_mb": rounded(peak_rss_mb(stoker.pid))}
    return figures | {"rounds": rounds, "raw": {peer.name: _raw(peer) for peer in [*peers, direct]}}


def _ratios(peers: dict[str, Peer]) -> dict[str, float]:
    def ratio(case: str, other: str) -> float:
        pairs = zip(peers["stoker"].rates[case], peers[other].rates[case], strict=True)
        return rounded(statistics.median(mine / theirs for mine, theirs in pairs))

    return {
        "small_vs_nginx": ratio("small", "nginx"),
        "small_vs_peer": ratio("small", "caddy"),
        "small_vs_interpreted": ratio("small", "interpreted"),
        "small_vs_fastapi_httpx": ratio("small", "fastapi_httpx"),
        "small_vs_fastapi_httpx2": ratio("small", "fastapi_httpx2"),
        "large_vs_nginx": ratio("large", "nginx"),
        "both_vs_nginx": ratio("both", "nginx"),
    }


def _added(stoker: Peer, direct: Peer) -> dict[str, float]:
    def added(case: str, quantile: str) -> float:
        pairs = zip(stoker.times_ms[case], direct.times_ms[case], strict=True)
        return rounded(statistics.median(through[quantile] - straight[quantile] for through, straight in pairs))

    return {"added_p50_ms": added("calm", "p50_ms"), "added_p95_ms": added("busy", "p95_ms")}


def _raw(peer: Peer) -> dict[str, dict[str, float]]:
    return {
        case: {
            "requests_per_s": rounded(statistics.median(peer.rates[case]), 4),
            "cpu_ms_per_request": rounded(statistics.median(peer.cpu_ms[case])),
            "p99_ms": rounded(statistics.median(times["p99_ms"] for times in peer.times_ms[case])),
        }
        for case in peer.rates
    }


def main() -> int:
    """Measure, say how it compares to the targets, print the result."""
    parser = command_line("benchmarks.proxy.run", __doc__, "make bench-proxy")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 8), help="rounds of each case and proxy")
    rounds = parser.parse_args().rounds
    return report("bench-proxy", lambda: measured(rounds), AT_LEAST, AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
