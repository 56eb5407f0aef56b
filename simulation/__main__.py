"""``make simulate``: run small worlds by the thousand, or one large one, and say which invariant broke in which seed."""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterable

from e2e.command_line import command_line
from simulation.batch import Summary, reports
from simulation.plan import large
from simulation.world import Report, World

_TOLD_EVERY = 100


def main() -> int:
    """Run what is asked for; 1 where an invariant broke."""
    given = _arguments()
    began = time.monotonic()
    summary = Summary()
    for report in _worlds(given):
        summary.add(report)
        if report.violation:
            _tell(report, given.events, given.large)
        if summary.worlds % _TOLD_EVERY == 0:
            _say(f"{summary.worlds} worlds, {len(summary.violations)} violations, {time.monotonic() - began:.0f} s")
    for what, times in sorted(summary.counts.items()):
        _say(f"  {times:>9}  {what}")
    _say(f"{summary.worlds} worlds, {summary.steps} steps, {len(summary.violations)} violations, trace {summary.hash}")
    if given.json:
        print(json.dumps(_result(summary, time.monotonic() - began)))
    return 1 if summary.violations else 0


def _arguments() -> argparse.Namespace:
    parser = command_line("simulation", __doc__, "make simulate SEED=0 WORLDS=1000 LARGE=1")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--worlds", type=int, default=1000, help="how many seeds from there on (default: 1000)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="how many at a time (default: one for each core)"
    )
    parser.add_argument("--events", type=int, default=30, help="how many of the last events to show of a violation (default: 30)")
    parser.add_argument("--large", action="store_true", help="one large world instead, of --nodes and --pods")
    parser.add_argument("--nodes", type=int, default=10_000, help="of the large world (default: 10000)")
    parser.add_argument("--pods", type=int, default=100_000, help="of the large world (default: 100000)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the large world's own time (default: 10)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def _worlds(given: argparse.Namespace) -> Iterable[Report]:
    if given.large:
        plan = large(given.seed, nodes=given.nodes, pods=given.pods, seconds=60.0 * given.minutes)
        return [World(plan).run()]
    return reports(range(given.seed, given.seed + given.worlds), given.processes)


def _tell(report: Report, events: int, is_large: bool) -> None:  # noqa: FBT001 - one of two kinds of world
    _say(f"\nseed {report.seed} after {report.seconds:.3f} s: {report.violation}")
    for line in report.latest[-events:]:
        _say(f"    {line}")
    how = f"--large --seed {report.seed}" if is_large else f"--worlds 1 --seed {report.seed}"
    _say(f"again: python -m simulation {how} --events 60\n")


def _result(summary: Summary, seconds: float) -> dict[str, object]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "worlds": summary.worlds,
        "violations": len(summary.violations),
        "hash": summary.hash,
        "steps": summary.steps,
        "seconds": round(seconds, 1),
        "cpu_s": round(time.process_time(), 1),
        "gib": round(peak, 3),
        "counts": summary.counts,
    }


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
