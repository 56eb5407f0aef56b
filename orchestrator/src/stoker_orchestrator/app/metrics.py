"""What Prometheus sees of the orchestrator. The model label is a resource's name; no prompt, caller or address is a label."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The orchestrator's counters, in a registry of their own. Those of each job have a quick way to their children by label."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.jobs = Counter("stoker_jobs", "Jobs by model, status and reason.", ["model", "status", "reason"], registry=registry)
        self.retries = Counter("stoker_job_retries", "Jobs sent to a second worker.", ["model"], registry=registry)
        self.wakes = Counter("stoker_wakes", "First workers asked for.", ["model"], registry=registry)
        self.in_flight = Gauge("stoker_jobs_in_flight", "Jobs on workers.", ["model"], registry=registry)
        self.waiting = Gauge("stoker_jobs_waiting", "Jobs in line.", ["model"], registry=registry)
        self.queue_seconds = Histogram(
            "stoker_job_queue_seconds", "Seconds in line.", ["model"], buckets=_SECONDS, registry=registry
        )
        self.worker_seconds = Histogram(
            "stoker_job_worker_seconds", "Seconds on a worker.", ["model"], buckets=_SECONDS, registry=registry
        )
        self.endpoints = Gauge("stoker_endpoints", "Endpoints by state.", ["state"], registry=registry)
        self.jobs_of = cache(self.jobs.labels)
        self.queue_seconds_of = cache(self.queue_seconds.labels)
        self.worker_seconds_of = cache(self.worker_seconds.labels)
        self.generation = Gauge("stoker_capabilities_generation", "Changes of what is advertised.", registry=registry)

    def text(self) -> bytes:
        """The exposition, as ``/metrics`` sends it."""
        return generate_latest(self.registry)
