"""From samples to figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stoker_worker.bench.document import RAW_AT_MOST, ErrorCount, Stage
from stoker_worker.bench.samples import Failure, Reply, Sample
from stoker_worker.bench.summary import PIECES, figures, quantile, spread, stage_means, thinned
from tests.support.bench import samples


def test_percentiles_of_known_values_are_exact() -> None:
    found = spread([float(value) for value in range(100, 0, -1)])

    assert found is not None
    assert (found.count, found.mean, found.p50, found.p95, found.p99) == (100, 50.5, 50, 95, 99)
    assert (found.min, found.max) == (1, 100)


@pytest.mark.parametrize(("count", "p50", "p95", "p99"), [(1, 1, 1, 1), (2, 1, 2, 2), (20, 10, 19, 20), (60, 30, 57, 60)])
def test_percentiles_of_few_values_are_values_that_were_measured(count: int, p50: int, p95: int, p99: int) -> None:
    found = spread([float(value) for value in range(1, count + 1)])

    assert found is not None
    assert (found.p50, found.p95, found.p99) == (p50, p95, p99)


@given(some.lists(some.floats(0, 1e6), min_size=1), some.floats(0.01, 1))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    enough = len(values) * share - 1e-6

    assert sum(value <= found for value in values) >= enough
    assert not any(sum(other <= value for other in values) >= enough + 2e-6 for value in values if value < found)


def test_nothing_measured_has_no_spread() -> None:
    assert spread([]) is None
    assert figures([]).latency is None
    assert figures([]).pictures_per_second == 0


def test_rates_count_what_came_back_until_the_last_answer() -> None:
    found = figures([Sample("job", 0, 0, 2, Reply(pictures=4)), Sample("job", 0, 1, 4, Reply(pictures=4))])

    assert (found.seconds, found.pictures, found.pictures_per_second, found.jobs_per_second) == (4, 8, 2, 0.5)


def test_failed_jobs_are_in_the_counts_but_in_no_latency() -> None:
    found = figures(samples([0.1, 0.3], failed=2))

    assert (found.counts.done, found.counts.failed) == (2, 2)
    assert found.latency is not None
    assert (found.latency.count, found.latency.max) == (2, 300)


def test_failures_are_counted_by_kind_with_the_words_of_the_first() -> None:
    kinds = [("timeout", "a"), ("HTTP 500", "b"), ("HTTP 500", "c"), ("broken answer", "d")]
    found = figures([Sample("job", 0, 0, 1, Reply(failure=Failure(*each))) for each in kinds]).errors

    assert found == (
        ErrorCount(kind="HTTP 500", count=2, example="b"),
        ErrorCount(kind="broken answer", count=1, example="d"),
        ErrorCount(kind="timeout", count=1, example="a"),
    )


def test_latency_counts_from_when_a_job_was_due() -> None:
    found = figures([Sample("job", due=1, sent=3, ended=4, reply=Reply(1))], open_loop=True)

    assert found.latency is not None
    assert found.late is not None
    assert (found.latency.max, found.late.max) == (3000, 2000)


def test_several_kinds_have_a_spread_each_and_one_alone_has_none_of_its_own() -> None:
    two = figures([Sample("b", 0, 0, 2, Reply(1)), Sample("a", 0, 0, 1, Reply(1)), Sample("a", 0, 0, 3, Reply(1))])

    assert {name: (each.count, each.max) for name, each in two.by_kind.items()} == {"a": (2, 3000), "b": (1, 2000)}
    assert figures(samples([1, 2])).by_kind == {}


def test_queue_times_and_cold_starts_come_from_the_answers() -> None:
    refused = Sample("job", 0, 0, 1, Reply(failure=Failure("HTTP 503"), queue_ms=9000))
    found = figures([Sample("job", 0, 0, 1, Reply(1, queue_ms=7, cold=True)), Sample("job", 0, 0, 1, Reply(1)), refused])

    assert found.queue is not None
    assert (found.queue.count, found.queue.max, found.cold_starts) == (1, 7, 1)


def test_stages_have_their_own_spread() -> None:
    found = figures([Sample("job", 0, 0, 1, Reply(1, stages={"inference": each})) for each in (0.1, 0.3)]).stages

    assert (found["inference"].count, found["inference"].mean) == (2, 200)
    assert found["inference"].spread is not None
    assert found["inference"].spread.max == 300


def test_the_pieces_of_a_run_add_up_to_the_run() -> None:
    found = figures(samples([0.5] * 47))

    assert len(found.pace) == PIECES
    assert sum(piece.pictures for piece in found.pace) == 47
    assert sum(piece.seconds for piece in found.pace) == pytest.approx(23.5)


def test_raw_latencies_are_kept_in_order_and_bounded() -> None:
    found = figures(samples([number / 1000 for number in range(RAW_AT_MOST * 2)]))

    assert len(found.latencies) == RAW_AT_MOST
    assert found.latencies[:3] == (0, 2, 4)
    assert found.latency is not None
    assert found.latency.count == RAW_AT_MOST * 2


def test_few_values_are_all_kept() -> None:
    assert thinned([3, 1, 2], 3) == [3, 1, 2]
    assert thinned(list(range(10)), 4) == [0, 2, 5, 7]


def test_a_workers_stages_are_what_came_between_two_looks() -> None:
    before = {"inference": (10.0, 5.0), "encode": (1.0, 5.0)}
    after = {"inference": (11.0, 9.0), "encode": (1.0, 5.0), "queue": (0.4, 2.0)}

    assert stage_means(before, after) == {"inference": Stage(count=4, mean=250), "queue": Stage(count=2, mean=200)}
