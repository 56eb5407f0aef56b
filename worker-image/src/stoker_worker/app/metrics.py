"""What Prometheus sees of a worker. Labels are closed lists: no prompt, no caller, no file name."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stoker_worker.engine.protocol import GraphDecision, GraphFigures

_ROWS = (1, 2, 4, 8, 16, 32, 64)
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The worker's counters, in a registry of their own. `started` are the seconds of each stage of the start that is over."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.started: dict[str, float] = {}
        self.jobs = Counter("stoker_worker_jobs", "Jobs by how they ended.", ["outcome"], registry=self.registry)
        self.stage_seconds = Histogram(
            "stoker_worker_stage_seconds", "Seconds by stage.", ["stage"], buckets=_SECONDS, registry=self.registry
        )
        self.in_flight = Gauge("stoker_worker_in_flight", "Jobs in the line and running.", registry=self.registry)
        self.late_jobs = Counter(
            "stoker_worker_late_jobs", "Jobs dropped before they began: their callers' time was over.", registry=self.registry
        )
        self.batches = Counter("stoker_worker_batches", "Batches by how they ended.", ["outcome"], registry=self.registry)
        self.batch_rows = Histogram("stoker_worker_batch_rows", "Rows of batches.", buckets=_ROWS, registry=self.registry)
        self.rows_limit = Gauge(
            "stoker_worker_rows_limit", "Most rows that a batch like the last one may have.", registry=self.registry
        )
        self.steps = Counter("stoker_worker_steps", "Denoising steps of batches.", registry=self.registry)
        self.parked = Gauge("stoker_worker_parked", "1 while the weights are off the device.", registry=self.registry)
        self.graphs = Gauge(
            "stoker_worker_graphs", "Recorded calls that are held, by part of the pipeline.", ["part"], registry=self.registry
        )
        self.graph_decisions = Counter(
            "stoker_worker_graph_decisions",
            "Forms of calls by part of the pipeline and whether they are replayed, or why not.",
            ["part", "decision"],
            registry=self.registry,
        )
        self._graph_figures: Mapping[str, GraphFigures] = {}
        self.start_seconds = Gauge(
            "stoker_worker_start_seconds", "Seconds of each stage of the start.", ["stage"], registry=self.registry
        )
        self.load_seconds = Gauge("stoker_worker_load_seconds", "Seconds the model took to load.", registry=self.registry)

    def start_seconds_of(self, stage: str, seconds: float) -> None:
        """A stage of the start is over."""
        self.started[stage] = round(seconds, 3)
        self.start_seconds.labels(stage).set(seconds)

    def graphs_are(self, figures: Mapping[str, GraphFigures]) -> None:
        """How it stands with the engine's recorded calls; its decisions only ever grow in number."""
        for part, now in figures.items():
            before = self._graph_figures.get(part)
            self.graphs.labels(part).set(now.held)
            for decision in GraphDecision:
                more = now.decided.get(decision, 0) - (before.decided.get(decision, 0) if before is not None else 0)
                self.graph_decisions.labels(part, decision.value).inc(more)
        self._graph_figures = figures

    def text(self) -> bytes:
        """The exposition, as ``/metrics`` sends it."""
        return generate_latest(self.registry)
