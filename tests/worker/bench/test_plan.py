"""What a benchmark sends, and when."""

import itertools
import statistics
from collections import Counter
from dataclasses import replace

import pytest

from stoker_worker.bench.plan import Arrivals, Load, Planned, chosen, due_times, planned
from tests.support.bench import kind


def dues(jobs: list[Planned]) -> list[float | None]:
    return [job.due for job in jobs]


def test_uniform_arrivals_are_at_equal_distances_from_the_start_on() -> None:
    assert list(itertools.islice(due_times(4, "uniform", seed=1), 5)) == [0, 0.25, 0.5, 0.75, 1.0]


def test_poisson_arrivals_have_exponential_gaps_of_the_asked_mean() -> None:
    times = list(itertools.islice(due_times(4, "poisson", seed=1), 20_000))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]

    assert statistics.mean(gaps) == pytest.approx(0.25, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.25, rel=0.03)  # as large as the mean, as for no other spread of gaps
    assert min(gaps) > 0


@pytest.mark.parametrize("arrivals", ["poisson", "uniform"])
def test_the_same_seed_gives_the_same_jobs_at_the_same_times(arrivals: Arrivals) -> None:
    kinds = (kind(), kind(num_inference_steps=2))
    load = Load(runs=600, rate=10, arrivals=arrivals)

    assert list(planned(kinds, load, seed=7)) == list(planned(kinds, load, seed=7))


def test_another_seed_gives_other_times_and_another_order() -> None:
    kinds = (kind(), kind(num_inference_steps=2))
    one, two = (list(planned(kinds, Load(runs=50, rate=10), seed)) for seed in (1, 2))

    assert dues(one) != dues(two)
    assert [job.kind for job in one] != [job.kind for job in two]


def test_another_mix_does_not_move_the_times() -> None:
    load = Load(runs=300, rate=10)

    assert dues(list(planned((kind(),), load, 3))) == dues(list(planned((kind(), kind(num_inference_steps=2)), load, 3)))


def test_jobs_are_as_many_as_asked_for_or_those_that_are_due_within_the_duration() -> None:
    by_clock = Load(duration=2, rate=4, arrivals="uniform")

    assert len(list(planned((kind(),), Load(runs=3), 0))) == 3
    assert dues(list(planned((kind(),), by_clock, 0))) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert len(list(planned((kind(),), Load(runs=3, duration=2, rate=4), 0))) == 3


def test_a_closed_loop_with_a_duration_alone_never_runs_out_of_jobs() -> None:
    jobs = planned((kind(),), Load(duration=1), 0)

    assert [next(jobs).due for _ in range(2000)] == [None] * 2000


def test_no_two_jobs_share_a_seed_though_each_makes_several_pictures() -> None:
    jobs = list(planned((kind(num_images_per_prompt=4),), Load(runs=3), seed=5))

    assert [job.seed for job in jobs] == [5, 9, 13]


def test_kinds_come_as_often_as_their_weights_say() -> None:
    kinds = [replace(kind(), name=name, weight=weight) for name, weight in (("often", 3), ("seldom", 1), ("never", 0))]
    counts = Counter(each.name for each in itertools.islice(chosen(kinds, seed=0), 8000))

    assert counts["often"] / counts["seldom"] == pytest.approx(3, rel=0.1)
    assert counts["never"] == 0
