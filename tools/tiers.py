"""Run the test tiers one after the other and say at the end what ran, what was skipped and why.

A tier that this machine cannot run is skipped with its reason, never silently; with ``CI=true`` a skipped tier is a failure.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Tier:
    """One step: its name, the make target that runs it, and the command that says whether this machine can."""

    name: str
    target: str
    needs: tuple[str, ...] = ()


CAN_RUN_CONTAINERS = ("python3", "-m", "e2e.cluster", "check")
CAN_RUN_API_SERVER = ("go", "version")

TIERS = {
    tier.name: tier
    for tier in (
        Tier("lint", "lint"),
        Tier("types", "types"),
        Tier("imports", "imports"),
        Tier("generated", "generated-check"),
        Tier("unit", "unit"),
        Tier("compiled", "compiled-test", needs=CAN_RUN_CONTAINERS),
        Tier("simulation", "simulation-test"),
        Tier("chart", "chart-test", needs=CAN_RUN_API_SERVER),
        Tier("api", "api", needs=CAN_RUN_API_SERVER),
        Tier("cluster", "cluster", needs=CAN_RUN_CONTAINERS),
    )
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one tier ended. `tests` is (passed, failed, skipped) where the tier ran pytest."""

    tier: Tier
    verdict: str
    seconds: float
    note: str = ""
    tests: tuple[int, int, int] = (0, 0, 0)


def missing(tier: Tier) -> str | None:
    """Why this machine cannot run `tier`; None when it can."""
    if not tier.needs:
        return None
    try:
        probe = subprocess.run(tier.needs, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{tier.needs[0]} is not installed"
    said = " ".join((probe.stdout + probe.stderr).split())
    return None if probe.returncode == 0 else said or f"{' '.join(tier.needs)} failed"


def counted(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of a JUnit report; zeros where there is none."""
    if not report.exists():
        return (0, 0, 0)
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest wrote it a moment ago
    totals = [[int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")] for suite in suites]
    tests, failures, errors, skipped = (sum(column) for column in zip(*totals, strict=True))
    return (tests - failures - errors - skipped, failures + errors, skipped)


def run(tier: Tier, reports: Path) -> Outcome:
    """Run one tier, its output shown as it comes."""
    reason = missing(tier)
    if reason is not None:
        return Outcome(tier, "skipped", 0.0, reason)
    report = reports / f"{tier.name}.xml"
    print(f"\n── {tier.name} ──", flush=True)
    started = time.monotonic()
    command = ["make", "--no-print-directory", tier.target]
    done = subprocess.run(command, cwd=ROOT, check=False, env=os.environ | {"JUNIT_REPORT": str(report)})
    verdict = "passed" if done.returncode == 0 else "failed"
    return Outcome(tier, verdict, time.monotonic() - started, tests=counted(report))


def summary(outcomes: list[Outcome]) -> bool:
    """Print one line for each tier and a total; True when nothing failed and, in CI, nothing was skipped."""
    print("\n── tiers ──")
    for outcome in outcomes:
        passed, failed, skipped = outcome.tests
        tests = f"{passed} passed, {failed} failed, {skipped} skipped" if any(outcome.tests) else ""
        print(f"{outcome.tier.name:<10} {outcome.verdict:<8} {outcome.seconds:6.0f} s  {tests or outcome.note}".rstrip())
    skipped_tiers = [outcome.tier.name for outcome in outcomes if outcome.verdict == "skipped"]
    in_ci = os.environ.get("CI") == "true"
    if skipped_tiers:
        print(f"not run on this machine: {', '.join(skipped_tiers)}" + (" (a failure in CI)" if in_ci else ""))
    totals = [sum(outcome.tests[column] for outcome in outcomes) for column in range(3)]
    broken = sum(outcome.verdict == "failed" and not outcome.tests[1] for outcome in outcomes)
    print(f"{totals[0]} passed, {totals[1] + broken} failed, {totals[2]} skipped")
    return not any(outcome.verdict == "failed" for outcome in outcomes) and not (in_ci and skipped_tiers)


def main() -> int:
    """Run the named tiers, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiers", nargs="*", choices=[*TIERS, []], metavar="TIER", help=f"any of: {', '.join(TIERS)}")
    chosen = parser.parse_args().tiers or list(TIERS)
    with tempfile.TemporaryDirectory() as reports:
        outcomes = [run(TIERS[name], Path(reports)) for name in chosen]
    return 0 if summary(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
