"""What jobs were seen to take, and what is expected of the next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.domain.cost import Rates, declared_cost


@pytest.mark.parametrize("absurd", [999_999, 1e300, "inf", "9" * 400])
def test_a_job_declares_no_more_than_the_largest_that_a_worker_takes(absurd: object) -> None:
    fields = ("num_inference_steps", "width", "height", "num_images_per_prompt")

    assert declared_cost(Pipeline.TEXT_TO_IMAGE, dict.fromkeys(fields, absurd)) == pytest.approx(500 * 4.096**2 * 16)
    assert declared_cost(Pipeline.IMAGE_TO_IMAGE, {"strength": absurd}) == declared_cost(Pipeline.IMAGE_TO_IMAGE, {"strength": 1})


def test_before_anything_was_seen_a_guess_is_made_and_said_to_be_one() -> None:
    rates = Rates()

    assert not rates.known("m")
    assert rates.seconds("m", 10) > 0


def test_the_first_job_replaces_the_guess() -> None:
    rates = Rates()
    rates.observe("m", cost=10, seconds=2)

    assert rates.known("m")
    assert rates.seconds("m", 5) == pytest.approx(1)


def test_a_model_that_changed_is_learnt_anew_within_some_jobs() -> None:
    rates = Rates()
    for _ in range(50):
        rates.observe("m", cost=1, seconds=1)
    for _ in range(30):
        rates.observe("m", cost=1, seconds=3)

    assert rates.per_unit("m") == pytest.approx(3, rel=0.1)


def test_a_job_whose_worker_stood_still_does_not_make_all_others_seem_dear() -> None:
    rates = Rates()
    for _ in range(10):
        rates.observe("m", cost=1, seconds=1)
    rates.observe("m", cost=1, seconds=1000)

    assert rates.per_unit("m") < 1.2


def test_one_job_that_is_quick_proves_that_those_before_it_stood_still() -> None:
    rates = Rates()
    for _ in range(4):
        rates.observe("m", cost=10, seconds=500)
    rates.observe("m", cost=1, seconds=1)

    assert rates.per_unit("m") < 2.01


def test_a_job_is_compared_with_what_was_expected_of_it() -> None:
    rates = Rates()
    assert rates.observe("m", cost=1, seconds=1) == 1
    assert rates.observe("m", cost=2, seconds=6) == pytest.approx(3)


def test_what_one_learnt_another_one_knows() -> None:
    rates, follower = Rates(), Rates()
    rates.observe("m", cost=10, seconds=2)
    follower.observe("other", cost=1, seconds=1)
    follower.learn(rates.known_rates())

    assert follower.per_unit("m") == rates.per_unit("m")
    assert not follower.known("other")


def test_rates_of_another_release_teach_nothing() -> None:
    rates = Rates()
    rates.learn([["m", "NVIDIA L4", 2.0, 10.0, True], ["other", 2.0, 10.0]])

    assert (rates.known("m"), rates.known("other")) == (False, True)


def test_a_model_that_is_gone_is_forgotten() -> None:
    rates = Rates()
    rates.observe("m", cost=1, seconds=1)
    rates.observe("other", cost=1, seconds=1)
    rates.forget("m")

    assert not rates.known("m")
    assert rates.known("other")


@given(st.lists(st.tuples(st.floats(0.01, 400), st.floats(0.5, 2)), min_size=30, max_size=80), st.floats(0.001, 1))
def test_jobs_of_all_sizes_at_one_speed_teach_that_speed(asked: list[tuple[float, float]], speed: float) -> None:
    rates = Rates()
    for cost, noise in asked:
        rates.observe("m", cost, cost * speed * noise)

    assert speed * 0.499 <= rates.per_unit("m") <= speed * 2.001
