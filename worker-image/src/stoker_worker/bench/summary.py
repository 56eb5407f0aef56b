"""From samples to figures."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from stoker_worker.bench.document import RAW_AT_MOST, Counts, ErrorCount, Figures, Pace, Spread, Stage
from stoker_worker.bench.samples import Sample

PIECES = 20
"""Into how many pieces a run is cut, to see how much its pace varies."""
_DIGITS = 3
_T = TypeVar("_T")


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of `ordered` (ascending, not empty) that at least `share` (0 to 1) of them do not exceed."""
    return ordered[max(0, math.ceil(round(len(ordered) * share, 9)) - 1)]


def spread(values: Sequence[float]) -> Spread | None:
    """The spread of `values` in milliseconds; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered)
    p50, p95, p99 = (quantile(ordered, share) for share in (0.5, 0.95, 0.99))
    figures = {"mean": mean, "p50": p50, "p95": p95, "p99": p99, "min": ordered[0], "max": ordered[-1]}
    return Spread(count=len(ordered), **{name: round(value, _DIGITS) for name, value in figures.items()})


def figures(samples: Sequence[Sample], abandoned: int = 0, *, open_loop: bool = False) -> Figures:
    """Everything that `samples`, in the order in which they ended, tell."""
    done = [sample for sample in samples if sample.done]
    seconds = max((sample.ended for sample in samples), default=0.0)
    pictures = sum(sample.reply.pictures for sample in samples)
    latencies = [sample.latency * 1000 for sample in done]
    return Figures(
        seconds=round(seconds, _DIGITS),
        counts=Counts(done=len(done), failed=len(samples) - len(done), abandoned=abandoned),
        pictures=pictures,
        jobs_per_second=_rate(len(done), seconds),
        pictures_per_second=_rate(pictures, seconds),
        latency=spread(latencies),
        late=spread([(sample.sent - sample.due) * 1000 for sample in samples]) if open_loop else None,
        queue=spread([sample.reply.queue_ms for sample in done if sample.reply.queue_ms is not None]),
        stages=_stages(done),
        by_kind=_by_kind(done),
        cold_starts=sum(sample.reply.cold for sample in samples),
        errors=errors(samples),
        pace=pace(samples),
        latencies=tuple(round(value, _DIGITS) for value in thinned(latencies, RAW_AT_MOST)),
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, _DIGITS) if seconds > 0 else 0.0


def _stages(done: Sequence[Sample]) -> dict[str, Stage]:
    names = list(dict.fromkeys(name for sample in done for name in sample.reply.stages))
    return {name: stage([sample.reply.stages[name] * 1000 for sample in done if name in sample.reply.stages]) for name in names}


def stage(milliseconds: Sequence[float]) -> Stage:
    """A stage of which every event is known."""
    found = spread(milliseconds)
    return Stage(count=len(milliseconds), mean=found.mean if found else 0.0, spread=found)


def _by_kind(done: Sequence[Sample]) -> dict[str, Spread]:
    """By kind of job, where there are several."""
    latencies: dict[str, list[float]] = {}
    for sample in done:
        latencies.setdefault(sample.kind, []).append(sample.latency * 1000)
    found = {kind: spread(values) for kind, values in sorted(latencies.items())}
    return {kind: each for kind, each in found.items() if each is not None} if len(found) > 1 else {}


def errors(samples: Sequence[Sample]) -> tuple[ErrorCount, ...]:
    """Failures by kind, the most frequent first."""
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    for failure in (sample.reply.failure for sample in samples if sample.reply.failure is not None):
        counts[failure.kind] = counts.get(failure.kind, 0) + 1
        examples.setdefault(failure.kind, failure.words)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ErrorCount(kind=kind, count=count, example=examples[kind]) for kind, count in ranked)


def pace(samples: Sequence[Sample]) -> tuple[Pace, ...]:
    """The run in pieces of as many answers each: what came in a piece, and how long it took."""
    if not samples:
        return ()
    count = min(PIECES, len(samples))
    ends = [len(samples) * number // count for number in range(1, count + 1)]
    pieces, since, first = [], 0.0, 0
    for last in ends:
        until = samples[last - 1].ended
        pictures = sum(sample.reply.pictures for sample in samples[first:last])
        pieces.append(Pace(pictures=pictures, seconds=round(until - since, 6)))
        since, first = until, last
    return tuple(pieces)


def thinned(values: Sequence[_T], most: int) -> list[_T]:
    """`values`, or `most` of them at equal distances."""
    if len(values) <= most:
        return list(values)
    return [values[index * len(values) // most] for index in range(most)]


def stage_means(before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]) -> dict[str, Stage]:
    """Stages from two looks at a worker's histograms; each name has the sum of its seconds and the count of its events."""
    stages = {}
    for name, (seconds, count) in after.items():
        earlier_seconds, earlier_count = before.get(name, (0.0, 0.0))
        events = int(count - earlier_count)
        if events > 0:
            stages[name] = Stage(count=events, mean=round((seconds - earlier_seconds) / events * 1000, _DIGITS))
    return stages
