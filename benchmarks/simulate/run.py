"""``make bench-simulate``: a thousand small worlds, and one of 10,000 nodes and 100,000 pods for ten of its minutes.

Each part runs in a process of its own, whose memory is measured. Some small worlds run again under another hash seed of Python: the
same seeds must give the same trace.
"""

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.result import compare, print_result, rounded, say
from e2e.command_line import command_line

SEEDS = 1000
AGAIN = 50
AT_MOST = {"large_s": 300.0, "large_gib": 1.0, "violations": 0.0}
AT_LEAST = {"small_seeds": 1000.0}


class SimulationError(Exception):
    """The simulator did not get to its end."""


def simulated(*arguments: str, hash_seed: int = 0) -> dict[str, Any]:
    """What a run of the simulator came to; its words are passed on. Raises SimulationError."""
    command = [sys.executable, "-m", "simulation", "--json", *arguments]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True, env=environment)
    lines = done.stdout.splitlines()
    if not lines:
        message = f"the simulator ended with {done.returncode} and no result"
        raise SimulationError(message)
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def main() -> int:
    """Measure, say how it compares to the targets, print the result."""
    command_line("benchmarks.simulate.run", __doc__, "make bench-simulate").parse_args()
    try:
        small = simulated("--worlds", str(SEEDS))
        once, again = (simulated("--worlds", str(AGAIN), "--processes", "1", hash_seed=seed) for seed in (1, 2))
        large = simulated("--large")
    except SimulationError as error:
        say(f"bench-simulate: {error}")
        return 1
    figures = {
        "large_s": rounded(large["seconds"]),
        "large_gib": rounded(large["gib"]),
        "small_seeds": small["worlds"],
        "violations": small["violations"] + large["violations"] + (once["hash"] != again["hash"]),
    }
    compare(figures, AT_LEAST, AT_MOST)
    raw = {
        "small_s": small["seconds"],
        "small_steps": small["steps"],
        "small_hash": small["hash"],
        "large_cpu_s": large["cpu_s"],
        "large_steps": large["steps"],
        "large_hash": large["hash"],
        "large_heartbeats": large["counts"]["heartbeats"],
        "large_jobs": large["counts"]["answered"],
    }
    print_result(figures | {"hash": large["hash"]} | {"raw": raw})
    return 0


if __name__ == "__main__":
    sys.exit(main())
