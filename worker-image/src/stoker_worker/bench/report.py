"""A result for people."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoker_worker.bench.document import Figures, Memory, Result, Spread, Stage
from stoker_worker.bench.options import word
from stoker_worker.bench.tables import milliseconds, number, seconds, size, some, table

_COLUMNS = ("MEAN", "P50", "P95", "P99", "MIN", "MAX")
_LATE_MS = 10.0
"""Later than this the caller itself was short of time, and says so."""


def report(result: Result) -> RenderableType:
    """Everything that matters to a person, at most 100 columns wide."""
    parts: list[RenderableType] = [_headline(result)]
    for part in (_facts(result), _times(result.figures), _errors(result.figures)):
        parts += ["", part] if part.row_count else []
    return Group(*parts, *(Text(line, style="yellow") for line in remarks(result)))


def remarks(result: Result) -> list[str]:
    """What whoever reads the figures must know."""
    found = []
    figures = result.figures
    if result.interrupted:
        found.append(f"Stopped before the end; {some(figures.counts.abandoned, 'job')} under way then and in no figure.")
    if not figures.counts.done:
        found.append("No job was done, so there is no latency.")
    if figures.late is not None and figures.late.p95 > _LATE_MS:
        late = milliseconds(figures.late.p95)
        found.append(f"This host sent jobs late (95th percentile {late}): it is too slow for the rate; latencies include that.")
    if figures.cold_starts:
        found.append(f"{some(figures.cold_starts, 'job')} waited for a cold start.")
    return found


def _headline(result: Result) -> Text:
    target = result.target
    where = {"in-process": "in this process", "worker": "at a worker", "orchestrator": "at an orchestrator"}[target.place]
    line = Text.assemble((target.model_id, "bold"), f"  {target.pipeline}  {where}")
    named = [*target.devices, *(f"{name} {target.versions[name]}" for name in ("torch", "diffusers") if name in target.versions)]
    switches = ", ".join(f"{each} (may change pictures)" if each in target.lossy else each for each in target.switches)
    for each in (", ".join(named), f"switches: {switches}" if switches else ""):
        line.append(f"\n{each}" if each else "")
    return line


def _facts(result: Result) -> Table:
    facts = table("", "")
    facts.show_header = False
    if result.load is not None:
        stages = ", ".join(f"{name} {seconds(each)}" for name, each in result.load.stages.items())
        facts.add_row("load", f"{seconds(result.load.seconds)}{f'  ({stages})' if stages else ''}")
    if result.memory is not None:
        facts.add_row("memory", _memory(result.memory))
    if result.warmup.milliseconds:
        facts.add_row("warm-up", _warmup(result))
    facts.add_row("jobs", _jobs(result))
    facts.add_row("rate", _rate(result))
    if result.figures.rows_per_batch is not None:
        facts.add_row("batches", f"{number(result.figures.rows_per_batch)} rows on average")
    if result.figures.late is not None:
        late = result.figures.late
        facts.add_row("sent late", f"{milliseconds(late.mean)} on average, {milliseconds(late.max)} at most")
    return facts


def _memory(memory: Memory) -> str:
    loaded, peak = memory.loaded, memory.peak
    match memory.of:
        case "cuda":
            held = f"{size(loaded.allocated)} allocated, {size(loaded.reserved)} reserved after the load"
            return f"{held}; {size(peak.allocated)} and {size(peak.reserved)} at most"
        case "process":
            return f"{size(loaded.allocated)} after the load, {size(peak.allocated)} at most (resident memory of this process)"
        case "device":
            return f"{size(loaded.allocated)} before, {size(peak.allocated)} after (taken on the worker's card by all its users)"


def _warmup(result: Result) -> str:
    warmup = result.warmup
    words = f"{some(len(warmup.milliseconds), 'job')}, the first took {milliseconds(warmup.milliseconds[0])}"
    words += f", {warmup.failed} failed" if warmup.failed else ""
    return words + (f", {some(warmup.cold_starts, 'cold start')}" if warmup.cold_starts else "")


def _jobs(result: Result) -> str:
    counts, settings = result.figures.counts, result.settings
    how = (
        f"{number(settings.rate)} due each second ({settings.arrivals})"
        if settings.rate is not None
        else f"{settings.concurrency} at a time"
    )
    each = f", {settings.batch_size} in a batch" if settings.batch_size > 1 else ""
    return f"{counts.done} done, {counts.failed} failed in {seconds(result.figures.seconds)}; {how}{each}"


def _rate(result: Result) -> str:
    figures = result.figures
    return f"{number(figures.pictures_per_second)} {word(result.target.pipeline)}/s, {number(figures.jobs_per_second)} jobs/s"


def _times(figures: Figures) -> Table:
    times = table("", right=_COLUMNS)
    if figures.latency is not None:
        times.add_row("latency", *_cells(figures.latency))
    for name, each in figures.by_kind.items():
        times.add_row(f"  {name}", *_cells(each))
    if figures.queue is not None:
        times.add_row("waited", *_cells(figures.queue))
    for name, stage in figures.stages.items():
        times.add_row(name, *(_cells(stage.spread) if stage.spread is not None else _mean(stage, figures.counts.done)))
    return times


def _mean(stage: Stage, jobs: int) -> tuple[str, ...]:
    """With how often it was, where that is not once for each job: a batch may have several."""
    return (milliseconds(stage.mean), *(() if stage.count == jobs else (f"× {stage.count}",)))


def _cells(spread: Spread) -> tuple[str, ...]:
    return tuple(milliseconds(getattr(spread, name.lower())) for name in _COLUMNS)


def _errors(figures: Figures) -> Table:
    errors = table("FAILED", right=("JOBS",))
    errors.add_column("THE FIRST ONE SAID", overflow="fold")
    for each in figures.errors:
        errors.add_row(Text(each.kind, style="red"), str(each.count), Text(each.example))
    return errors
