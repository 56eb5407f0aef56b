"""What Prometheus sees of the orchestrator. The model label is a resource's name; no prompt, caller or address is a label.

What is counted for each job lies in plain dictionaries and becomes metrics when somebody looks: the client library's own counters
would cost a twelfth of the job path.
"""

import bisect
from collections import Counter as Count
from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stoker_contracts.overview import ModelOverview, ModelState, Overview, WorkerState

_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class JobCounts(Collector):
    """How many jobs ended in which way."""

    _labelnames = ("model", "status", "reason")

    def __init__(self) -> None:
        self._counts: Count[tuple[str, int, str]] = Count()

    def ended(self, model: str, status: int, reason: str) -> None:
        """One more."""
        self._counts[model, status, reason] += 1

    def describe(self) -> Iterator[CounterMetricFamily]:
        """The metric without values."""
        yield CounterMetricFamily("stoker_jobs", "Jobs by model, status and reason.", labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """The counts as they are now."""
        (family,) = self.describe()
        for (model, status, reason), count in sorted(self._counts.items()):
            family.add_metric([model, str(status), reason], count)
        yield family


_WAITS = ("model", "other")
DecisionKind = Literal[
    "admit", "hold", "refuse", "retry", "quarantine", "eject", "readmit", "scale", "retire", "revive", "swap", "lead"
]  # fmt: skip
"""What the orchestrator decides: about a job, an endpoint, a model's workers, or who writes."""


class DecisionCount:
    """How often one decision was made for one reason."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def inc(self) -> None:
        """Once more."""
        self.count += 1


class DecisionCounts(Collector):
    """How often each decision was made, by its reason; `model` is empty for what concerns no single model."""

    _labelnames = ("kind", "reason", "model")

    def __init__(self) -> None:
        self._counts: dict[tuple[DecisionKind, str, str], DecisionCount] = {}

    def labels(self, kind: DecisionKind, reason: str, model: str = "") -> DecisionCount:
        """The counter of one decision. `reason` is from a closed list, `model` a resource's name."""
        counter = self._counts.get((kind, reason, model))
        if counter is None:
            counter = self._counts[kind, reason, model] = DecisionCount()
        return counter

    def describe(self) -> Iterator[CounterMetricFamily]:
        """The metric without values."""
        yield CounterMetricFamily("stoker_decisions", "Decisions by kind, reason and model.", labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """The counts as they are now."""
        (family,) = self.describe()
        for labels, counter in sorted(self._counts.items()):
            family.add_metric(labels, counter.count)
        yield family


class JobTimes(Collector):
    """A histogram of seconds by model."""

    _labelnames = ("model",)

    def __init__(self, name: str, words: str) -> None:
        self._name = name
        self._words = words
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, model: str, seconds: float) -> None:
        """One more job took so long."""
        if model not in self._buckets:
            self._buckets[model], self._sums[model] = [0] * (len(_SECONDS) + 1), 0.0
        self._buckets[model][bisect.bisect_left(_SECONDS, seconds)] += 1
        self._sums[model] += seconds

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The metric without values."""
        yield HistogramMetricFamily(self._name, self._words, labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """The histograms as they are now."""
        (family,) = self.describe()
        for model, counts in sorted(self._buckets.items()):
            bounds = [*map(str, map(float, _SECONDS)), "+Inf"]
            family.add_metric([model], [(bound, sum(counts[: place + 1])) for place, bound in enumerate(bounds)], self._sums[model])
        yield family


class FleetGauges(Collector):
    """Models, workers and lines as they are when somebody looks; what is gone shows nowhere."""

    def __init__(self) -> None:
        self.look: Callable[[], Overview] | None = None
        """Makes the document that is read; without it there is nothing to show."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics without values."""
        yield GaugeMetricFamily("stoker_models", "Models by what becomes of a job sent now.", labels=["state"])
        yield GaugeMetricFamily("stoker_model_warm", "1 where a worker has the model loaded, else 0.", labels=["model"])
        yield GaugeMetricFamily("stoker_model_replicas", "Workers that are asked for.", labels=["model"])
        yield GaugeMetricFamily("stoker_model_waits_for", "1 where a model waits until another one makes room.", labels=_WAITS)
        yield GaugeMetricFamily("stoker_endpoints", "Workers by state.", labels=["model", "state"])
        yield GaugeMetricFamily("stoker_jobs_in_flight", "Jobs on workers.", labels=["model"])
        yield GaugeMetricFamily("stoker_jobs_waiting", "Jobs in line.", labels=["model"])
        yield GaugeMetricFamily("stoker_line_work_seconds", "What the work in line takes one worker.", labels=["model"])
        yield GaugeMetricFamily("stoker_line_oldest_seconds", "How long the job waits that waits longest.", labels=["model"])
        yield GaugeMetricFamily("stoker_blind_seconds", "For how long the fleet has not seen its workers; 0 while it does.")

    def collect(self) -> Iterator[Metric]:
        """The values as they are now."""
        if self.look is None:
            return
        overview = self.look()
        families = {family.name: family for family in self.describe()}
        states = Count(model.state for model in overview.models)
        for state in ModelState:
            families["stoker_models"].add_metric([state], states[state])
        for model in overview.models:
            _measure(families, model)
        families["stoker_blind_seconds"].add_metric([], overview.orchestrator.blind_seconds or 0.0)
        yield from families.values()


def _measure(families: dict[str, GaugeMetricFamily], model: ModelOverview) -> None:
    name, line = [model.name], model.line
    workers = Count(worker.state for worker in model.workers)
    families["stoker_model_warm"].add_metric(name, model.state is ModelState.SERVING)
    families["stoker_model_replicas"].add_metric(name, model.replicas)
    for other in model.waits_for:
        families["stoker_model_waits_for"].add_metric([model.name, other], 1)
    for state in WorkerState:
        families["stoker_endpoints"].add_metric([model.name, state], workers[state])
    families["stoker_jobs_in_flight"].add_metric(name, sum(worker.in_flight for worker in model.workers))
    families["stoker_jobs_waiting"].add_metric(name, line.waiting)
    families["stoker_line_oldest_seconds"].add_metric(name, line.oldest_seconds)
    if line.work_seconds is not None:
        families["stoker_line_work_seconds"].add_metric(name, line.work_seconds)


class Metrics:
    """The orchestrator's counters, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.jobs = JobCounts()
        self.queue_seconds = JobTimes("stoker_job_queue_seconds", "Seconds in line.")
        self.worker_seconds = JobTimes("stoker_job_worker_seconds", "Seconds on a worker.")
        self.decisions = DecisionCounts()
        self.fleet = FleetGauges()
        for collector in (self.jobs, self.decisions, self.queue_seconds, self.worker_seconds, self.fleet):
            registry.register(collector)
        self.retries = Counter("stoker_job_retries", "Jobs sent to a second worker.", ["model"], registry=registry)
        self.wakes = Counter("stoker_wakes", "First workers asked for.", ["model"], registry=registry)
        self.cold_starts = Counter("stoker_cold_starts", "Jobs that waited for a worker to start.", ["model"], registry=registry)
        self.leading = Gauge("stoker_leading", "Whether this orchestrator gives out the slots of all.", registry=registry)
        self.leading.set(1)
        self.generation = Gauge("stoker_capabilities_generation", "Changes of what is advertised.", registry=registry)

    def text(self) -> bytes:
        """The exposition, as ``/metrics`` sends it."""
        return generate_latest(self.registry)
