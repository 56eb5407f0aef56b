"""Small worlds hold, the same seed is the same world, and what happened can be told."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest

from simulation.batch import Summary, run_small
from simulation.plan import Plan, draw, large
from simulation.world import Report, World

SEEDS = range(40)


@cache
def small(seed: int) -> Report:
    return run_small(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_in_a_small_world(seed: int) -> None:
    report = small(seed)

    assert report.violation == "", f"python -m simulation --worlds 1 --seed {seed}"


def test_small_worlds_meet_what_they_are_made_for() -> None:
    summary = Summary()
    for seed in SEEDS:
        summary.add(small(seed))

    met = {name for name, times in summary.counts.items() if times}
    assert met >= {
        "answered",
        "gone",
        "broken",
        "crashes",
        "refused job_ends_workers",
        "refused worker_lost",
        "refused start_timeout",
    }
    assert summary.counts["answered"] > 1000


def test_the_same_seed_gives_the_same_trace_whatever_the_hash_seed_of_the_process() -> None:
    program = "from simulation.batch import run_small; print(*(run_small(seed).hash for seed in (3, 11, 27)))"
    traces = [
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]

    assert traces[0] == traces[1]
    assert traces[0].split() == [small(seed).hash for seed in (3, 11, 27)]


def test_another_seed_is_another_world() -> None:
    assert small(1).hash != small(2).hash


def test_a_fleet_with_heartbeats_holds_as_well() -> None:
    report = World(large(0, nodes=20, pods=200, seconds=240)).run()

    assert report.violation == ""
    assert report.counts["heartbeats"] > 200 * 20
    assert report.counts["answered"] > 0


def test_a_world_without_faults_answers_whoever_has_patience() -> None:
    quiet = draw(0)
    plan = Plan(seed=5, traffic=replace(quiet.traffic, hang_up=0.0, poison=0.0, jobs_per_second=0.1, timeouts=0.0, burst=1))
    report = World(plan).run()

    assert report.violation == ""
    assert {name for name in report.counts if name.startswith(("refused", "broken"))} == set()
    assert report.counts["answered"] > 20
