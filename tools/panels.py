"""The panels of the Grafana dashboard: what is asked of Prometheus, and how it is called."""

from collections.abc import Mapping
from dataclasses import dataclass

_PLACE = 'namespace=~"$namespace"'
_MODEL = f'{_PLACE}, model=~"$model"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` are PromQL by the name of their series; `width` is in 24ths of the page."""

    title: str
    about: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


def _rate(metric: str, *by: str, only: str = "") -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{_MODEL}{only}}}[$__rate_interval]))"


def _count(metric: str, *by: str, only: str = "") -> str:
    """Events of each interval, for what is rare."""
    return f"sum by ({', '.join(by)}) (increase({metric}{{{_MODEL}{only}}}[$__rate_interval]))"


def _seen(metric: str, *by: str, only: str = "") -> str:
    """Every orchestrator sees the same fleet: the highest is the whole."""
    return f"max by ({', '.join(('namespace', *by))}) ({metric}{{{_MODEL}{only}}})"


def _highest(metric: str, *by: str) -> str:
    return f"max by ({', '.join(by)}) ({metric}{{{_MODEL}}})"


def _quantiles(metric: str) -> dict[str, str]:
    rates = _rate(f"{metric}_bucket", "le")
    return {f"p{part * 100:g}": f"histogram_quantile({part}, {rates})" for part in (0.5, 0.95, 0.99)}


def _mean(metric: str, *by: str) -> str:
    """Of a histogram's observations in each interval."""
    return f"{_rate(f'{metric}_sum', *by)} / {_rate(f'{metric}_count', *by)}"


def _number(title: str, about: str, query: str, unit: str = "short") -> Panel:
    return Panel(title, about, {"": query}, unit, "stat", 4)


NOW = (
    _number("Warm models", "Models that a worker has loaded.", f"sum({_seen('stoker_model_warm', 'model')})"),
    _number(
        "Workers ready", "Workers that take jobs.", "sum({})".format(_seen("stoker_endpoints", "model", only=', state="ready"'))
    ),
    _number(
        "Jobs per second",
        "Jobs that ended, in whatever way.",
        f"sum(rate(stoker_jobs_total{{{_MODEL}}}[$__rate_interval]))",
        "reqps",
    ),
    _number("Jobs on workers", "Jobs under way.", f"sum({_seen('stoker_jobs_in_flight', 'model')})"),
    _number("Jobs in line", "Jobs that wait.", f"sum({_seen('stoker_jobs_waiting', 'model')})"),
    _number(
        "Blind for",
        "For how long an orchestrator has not seen its workers. Jobs go on; nothing is scaled.",
        f"max(stoker_blind_seconds{{{_PLACE}}})",
        "s",
    ),
)
JOBS = (
    Panel(
        "Jobs by status and reason",
        "How jobs ended.",
        {"{{status}} {{reason}}": _rate("stoker_jobs_total", "status", "reason")},
        "reqps",
        stacked=True,
    ),
    Panel(
        "Refusals by code",
        "Jobs that were not served, and why.",
        {"{{status}} {{reason}}": _rate("stoker_jobs_total", "status", "reason", only=', status=~"4..|5.."')},
        "reqps",
    ),
    Panel("Retries", "Jobs sent to a second worker.", {"{{model}}": _count("stoker_job_retries_total", "model")}),
    Panel("Seconds in line", "From a job's arrival to its worker.", _quantiles("stoker_job_queue_seconds"), "s"),
    Panel("Seconds on a worker", "From a job's worker to the end of its answer.", _quantiles("stoker_job_worker_seconds"), "s"),
    Panel("Cold starts", "Jobs that waited for a worker to start.", {"{{model}}": _count("stoker_cold_starts_total", "model")}),
)
LINES = (
    Panel("Waiting", "Jobs in line.", {"{{model}}": _seen("stoker_jobs_waiting", "model")}, stacked=True),
    Panel("In flight", "Jobs on workers.", {"{{model}}": _seen("stoker_jobs_in_flight", "model")}, stacked=True),
    Panel(
        "Work in line, and its oldest job",
        "What the declared work in line takes one worker, and how long the job waits that waits longest.",
        {
            "{{model}} work": _seen("stoker_line_work_seconds", "model"),
            "{{model}} oldest": _seen("stoker_line_oldest_seconds", "model"),
        },
        "s",
    ),
)
WORKERS = (
    Panel(
        "Endpoints by state",
        "Workers, and containers that somebody else runs.",
        {"{{state}}": f"sum by (state) ({_seen('stoker_endpoints', 'model', 'state')})"},
        stacked=True,
    ),
    Panel(
        "Models by state",
        "What becomes of a job that is sent now.",
        {"{{state}}": f"sum by (state) (max by (namespace, state) (stoker_models{{{_PLACE}}}))"},
        stacked=True,
    ),
    Panel(
        "Workers asked for",
        "By whomever: activity, a person, an autoscaler of the cluster.",
        {"{{model}}": f"sum by (model) ({_seen('stoker_model_replicas', 'model')})"},
    ),
    Panel(
        "Ejections",
        "Workers that failed and get no jobs until they answer a probe.",
        {"{{model}} {{reason}}": _count("stoker_decisions_total", "model", "reason", only=', kind="eject"')},
    ),
    Panel(
        "Who leads",
        "The orchestrators that give out slots: one in each namespace, none for a moment when it changes.",
        {"{{pod}}": f"max by (pod) (stoker_leading{{{_PLACE}}})"},
    ),
)
DECISIONS = (
    Panel("Wakes", "First workers asked for.", {"{{model}}": _count("stoker_wakes_total", "model")}),
    Panel(
        "Scale decisions by reason",
        "Why the number of workers was changed.",
        {"{{reason}}": _count("stoker_decisions_total", "reason", only=', kind="scale"')},
    ),
    Panel(
        "Swaps",
        "Models that made room for others on a full device.",
        {"{{model}} {{reason}}": _count("stoker_decisions_total", "model", "reason", only=', kind="swap"')},
    ),
    Panel(
        "Who waits for whom",
        "Models for which no device is free, and those that make room.",
        {"{{model}} waits for {{other}}": _seen("stoker_model_waits_for", "model", "other")},
    ),
    Panel(
        "Decisions about workers",
        "Given up and let in again, sent away and taken back; and which orchestrator leads.",
        {
            "{{kind}} {{reason}}": _count(
                "stoker_decisions_total", "kind", "reason", only=', kind=~"eject|readmit|retire|revive|lead"'
            )
        },
    ),
    Panel(
        "Decisions about jobs",
        "Served at once, held, refused, tried again, given up because they end workers.",
        {
            "{{kind}} {{reason}}": _rate(
                "stoker_decisions_total", "kind", "reason", only=', kind=~"admit|hold|refuse|retry|quarantine"'
            )
        },
        "reqps",
    ),
)
INSIDE = (
    Panel("Steps per second", "Denoising steps of batches.", {"{{model}}": _rate("stoker_worker_steps_total", "model")}, "ops"),
    Panel(
        "Rows in a batch",
        "How many pictures or videos run together, and the most that memory and time allow.",
        {"{{model}}": _mean("stoker_worker_batch_rows", "model"), "{{model}} limit": _highest("stoker_worker_rows_limit", "model")},
    ),
    Panel("Seconds by stage", "What a job's time goes to.", {"{{stage}}": _mean("stoker_worker_stage_seconds", "stage")}, "s"),
    Panel(
        "Batches by how they ended",
        "Halved ones had too little memory; after isolated ones each row ran again alone.",
        {"{{outcome}}": _count("stoker_worker_batches_total", "outcome")},
        stacked=True,
    ),
    Panel(
        "Seconds of the start",
        "The longest of the workers that are there, by stage.",
        {"{{model}} {{stage}}": _highest("stoker_worker_start_seconds", "model", "stage")},
        "s",
    ),
    Panel(
        "Recorded calls",
        "How many forms of calls are replayed as CUDA graphs, and why others are not.",
        {"{{part}} {{decision}}": f"sum by (part, decision) (stoker_worker_graph_decisions_total{{{_MODEL}}})"},
    ),
)
ROWS: Mapping[str, tuple[Panel, ...]] = {
    "Now": NOW,
    "Jobs": JOBS,
    "Lines": LINES,
    "Workers": WORKERS,
    "Decisions": DECISIONS,
    "Inside workers, where they are scraped": INSIDE,
}
VARIABLES: Mapping[str, str] = {
    "namespace": "label_values(stoker_models, namespace)",
    "model": f"label_values(stoker_model_warm{{{_PLACE}}}, model)",
}
"""What one chooses at the top of the dashboard, and where the choices come from."""
