"""What a worker's metrics say."""

import pytest

from stoker_worker.bench.document import ModelLoad
from stoker_worker.bench.target import Seen, parsed

METRICS = """\
# TYPE stoker_worker_stage_seconds histogram
stoker_worker_stage_seconds_bucket{le="0.1",stage="queue"} 2.0
stoker_worker_stage_seconds_bucket{le="+Inf",stage="queue"} 3.0
stoker_worker_stage_seconds_count{stage="queue"} 3.0
stoker_worker_stage_seconds_sum{stage="queue"} 0.5
stoker_worker_stage_seconds_count{stage="inference"} 2.0
stoker_worker_stage_seconds_sum{stage="inference"} 4.0
# TYPE stoker_worker_batch_rows histogram
stoker_worker_batch_rows_count 2.0
stoker_worker_batch_rows_sum 7.0
# TYPE stoker_worker_load_seconds gauge
stoker_worker_load_seconds 12.5
# TYPE stoker_worker_start_seconds gauge
stoker_worker_start_seconds{stage="import"} 5.0
stoker_worker_start_seconds{stage="weights"} 7.5
# TYPE other gauge
other{stage="queue"} 9.0
"""


def test_stages_batches_and_the_start_are_read_from_a_workers_metrics() -> None:
    assert parsed(METRICS) == Seen(
        stages={"queue": (0.5, 3), "inference": (4, 2)},
        rows=7,
        batches=2,
        load=ModelLoad(seconds=12.5, stages={"import": 5, "weights": 7.5}),
    )


def test_metrics_of_somebody_else_say_nothing() -> None:
    assert parsed("# TYPE up gauge\nup 1.0\n") == Seen()


def test_what_is_no_exposition_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid metric name"):
        parsed("<html> x")
