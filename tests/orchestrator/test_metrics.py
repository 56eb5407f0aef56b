from prometheus_client.parser import text_string_to_metric_families

from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.domain.events import ModelSeen
from stoker_orchestrator.domain.overview import Identity, overview
from stoker_orchestrator.domain.placement import Wait
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Switchboard
from tests.support.fleet import model


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample as Prometheus reads it, by its name and its label values in the order of their names."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_jobs_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()
    for status, reason in ((200, "answered"), (200, "answered"), (503, "line_full")):
        metrics.jobs.ended("m", status, reason)

    seen = samples(metrics)

    assert seen["stoker_jobs_total", "m", "answered", "200"] == 2
    assert seen["stoker_jobs_total", "m", "line_full", "503"] == 1


def test_decisions_are_counted_by_kind_and_reason_and_by_model_where_they_concern_one() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.decisions.labels("scale", "wake", "m").inc()
    metrics.decisions.labels("lead", "lease_taken").inc()

    seen = samples(metrics)

    assert seen["stoker_decisions_total", "scale", "m", "wake"] == 2
    assert seen["stoker_decisions_total", "lead", "", "lease_taken"] == 1


def test_who_waits_for_whom_is_seen() -> None:
    board = Switchboard(Registry())
    board.apply(ModelSeen(model("a")), now=0)
    metrics = Metrics()
    metrics.fleet.look = lambda: overview(Identity("o", "1"), board, lambda _: (), {"a": Wait("a", "gpu", ("b", "c"), now=True)}, 0)

    seen = samples(metrics)

    assert (seen["stoker_model_waits_for", "a", "b"], seen["stoker_model_waits_for", "a", "c"]) == (1, 1)
    assert seen["stoker_models", "waits"] == 1


def test_each_time_is_in_its_bucket_and_in_all_above() -> None:
    metrics = Metrics()
    for seconds in (0.005, 0.006, 7.0, 10_000.0):
        metrics.worker_seconds.observe("m", seconds)

    seen = samples(metrics)
    buckets = {
        bound: seen["stoker_job_worker_seconds_bucket", bound, "m"] for bound in ("0.005", "0.01", "5.0", "10.0", "600.0", "+Inf")
    }

    assert buckets == {"0.005": 1, "0.01": 2, "5.0": 2, "10.0": 3, "600.0": 3, "+Inf": 4}
    assert seen["stoker_job_worker_seconds_count", "m"] == 4
    assert seen["stoker_job_worker_seconds_sum", "m"] == 10_007.011
