"""What is called faster, slower, or noise."""

from typing import Any

import numpy as np
import pytest

from stoker_worker.bench.compare import Compared, Measure, Verdict, compare, differences
from stoker_worker.bench.document import Result
from stoker_worker.bench.plan import Load
from tests.support.bench import options, result


def runs(mean: float, count: int = 200, seed: int = 0, noise: float = 0.05) -> list[float]:
    """Latencies in seconds that vary by 5 %."""
    return [float(each) for each in np.random.default_rng(seed).normal(mean, mean * noise, count)]


def compared(first: Result, second: Result) -> dict[Measure, Compared]:
    return {each.measure: each for each in compare(first, second)}


def verdicts(first: Result, second: Result) -> dict[str, str]:
    return {each.measure.value: each.verdict.value for each in compare(first, second)}


LATENCIES = ("mean", "p50", "p95", "rate")


def test_a_run_beside_itself_is_within_noise() -> None:
    found = verdicts(result(runs(0.1)), result(runs(0.1)))

    assert {found[name] for name in LATENCIES} == {"within noise"}


@pytest.mark.parametrize("seed", range(1, 6))
def test_two_runs_of_one_model_are_within_noise(seed: int) -> None:
    found = verdicts(result(runs(0.1, seed=seed)), result(runs(0.1, seed=seed + 100)))

    assert {found[name] for name in ("mean", "p50", "rate")} == {"within noise"}


def test_a_tenth_more_is_slower_and_a_tenth_less_is_faster_in_every_measure() -> None:
    base, slow, fast = (result(runs(mean, seed=seed)) for mean, seed in ((0.1, 1), (0.11, 2), (0.09, 3)))

    assert {verdicts(base, slow)[name] for name in LATENCIES} == {"slower"}
    assert {verdicts(base, fast)[name] for name in LATENCIES} == {"faster"}


def test_a_ratio_comes_with_bounds_that_hold_the_truth() -> None:
    mean = compared(result(runs(0.1, seed=1)), result(runs(0.12, seed=2)))[Measure.MEAN]

    assert mean.ratio == pytest.approx(1.2, abs=0.02)
    assert mean.low is not None
    assert mean.high is not None
    assert 1.17 < mean.low < 1.2 < mean.high < 1.23


def test_the_rate_is_the_other_way_round() -> None:
    rate = compared(result([0.1] * 40), result([0.2] * 40))[Measure.RATE]

    assert (rate.first, rate.second, rate.ratio, rate.verdict, rate.worse) == (10, 5, 0.5, Verdict.SLOWER, 2)


def test_a_difference_too_small_to_matter_is_noise_however_sure_it_is() -> None:
    found = compared(result([0.1] * 40), result([0.101] * 40))[Measure.MEAN]

    assert found.low is not None
    assert found.low > 1
    assert found.verdict is Verdict.NOISE


def test_much_noise_hides_a_small_difference() -> None:
    assert verdicts(result(runs(0.1, 10, 1, noise=0.5)), result(runs(0.11, 10, 2, noise=0.5)))["mean"] == "within noise"


def test_a_disturbance_in_a_part_of_a_run_is_noise_though_many_jobs_felt_it() -> None:
    calm = runs(0.1, 300, seed=1)
    disturbed = runs(0.1, 300, seed=2)
    disturbed[100:115] = [each * 5 for each in disturbed[100:115]]

    assert verdicts(result(calm), result(disturbed))["mean"] == "within noise"


def test_few_jobs_say_nothing_and_a_few_more_say_nothing_of_the_tail() -> None:
    assert {verdicts(result([0.1] * 4), result([0.2] * 4))[name] for name in LATENCIES} == {"too few to tell"}
    found = verdicts(result([0.1] * 19), result([0.2] * 19))
    assert (found["p50"], found["p95"]) == ("slower", "too few to tell")


def test_what_was_measured_once_has_a_ratio_and_no_verdict() -> None:
    found = compared(result([0.1], loaded=2, peak=2**30), result([0.1], loaded=3, peak=2**31))

    assert (found[Measure.LOAD].ratio, found[Measure.LOAD].verdict) == (1.5, Verdict.ONCE)
    assert (found[Measure.MEMORY].ratio, found[Measure.MEMORY].verdict) == (2, Verdict.ONCE)


def test_memory_of_another_sort_is_not_compared() -> None:
    second = result([0.1])
    assert second.memory is not None
    other = second.model_copy(update={"memory": second.memory.model_copy(update={"of": "process"})})

    assert Measure.MEMORY not in compared(result([0.1]), other)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [(0, 50, "more"), (50, 0, "less"), (0, 0, "within noise"), (1, 0, "within noise"), (20, 25, "within noise")],
)
def test_more_failures_are_told_where_chance_did_not_make_them(first: int, second: int, verdict: str) -> None:
    assert verdicts(result([0.1] * 50, failed=first), result([0.1] * 50, failed=second))["failed"] == verdict


def test_a_run_in_which_everything_failed_is_worse_though_it_has_no_latency() -> None:
    found = compared(result([0.1] * 20), result([], failed=20))

    assert set(found) == {Measure.LOAD, Measure.MEMORY, Measure.FAILED}
    assert found[Measure.FAILED].worse == float("inf")


def test_noise_is_never_worse() -> None:
    assert {each.worse for each in compare(result([0.1] * 40), result([0.101] * 40))} == {1.0}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fields": {"width": 128, "height": 64}}, ["jobs fields num_inference_steps: 1 → none", "jobs fields width: 64 → 128"]),
        ({"batch_size": 4}, ["batch_size: 1 → 4"]),
        ({"load": Load(runs=10, concurrency=4)}, ["concurrency: 1 → 4"]),
    ],
)
def test_settings_that_are_not_the_same_are_named(changed: dict[str, Any], words: list[str]) -> None:
    first, second = result([0.1]), result([0.1])
    settings = options(**changed)
    kinds = settings.kinds(first.target.pipeline, batched=False)

    assert differences(first, second.model_copy(update={"settings": settings.settings(kinds)})) == words


def test_another_model_or_card_is_named() -> None:
    first = result([0.1])
    target = first.target.model_copy(update={"devices": ("one", "two"), "versions": {"torch": "3"}})

    assert differences(first, first.model_copy(update={"target": target})) == [
        "devices: a card → one, two",
        "versions torch: none → 3",
    ]
