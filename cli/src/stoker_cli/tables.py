"""What an orchestrator knows, as tables that fit 80 columns."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoker_contracts.overview import ModelOverview, ModelState, Overview, WorkerState

_COLOURS = {
    ModelState.SERVING: "green",
    ModelState.STARTING: "yellow",
    ModelState.COLD: "cyan",
    ModelState.WAITS: "yellow",
    ModelState.UNAVAILABLE: "red",
    ModelState.STOPPED: "red",
    WorkerState.READY: "green",
    WorkerState.STARTING: "yellow",
    WorkerState.DRAINING: "magenta",
    WorkerState.LEAVING: "magenta",
    WorkerState.EJECTED: "red",
}
_TENTHS, _MINUTES, _HOURS = 0.95, 99.5, 99.5 * 60
"""Seconds up to which tenths are told, and from which on minutes and hours: two digits say enough."""
_DECISIONS = 5
_SERVING = {WorkerState.READY, WorkerState.LEAVING}


def tables(overview: Overview, note: str = "") -> RenderableType:
    """Everything, one table below the other; `note` stands first, for what is wrong with the view itself."""
    parts: list[RenderableType] = [_headline(overview)]
    if note:
        parts.append(Text(note, style="bold red"))
    if not overview.models:
        parts += ["", Text("No models. List some in the models config, or apply a ModelDeployment.")]
        return Group(*parts)
    for table in (_models, _details, _reasons, _lines, _workers, _decisions):
        made = table(overview.models)
        parts += ["", made] if made.row_count else []
    return Group(*parts)


def _headline(overview: Overview) -> Text:
    orchestrator = overview.orchestrator
    line = Text.assemble((orchestrator.name, "bold"), f" {orchestrator.version}")
    if not orchestrator.synced:
        line.append("  has not seen all models and workers yet", "yellow")
    if not orchestrator.leading:
        line.append("  follows another one, which decides how many workers run", "cyan")
    if orchestrator.blind_seconds is not None:
        ago = duration(orchestrator.blind_seconds)
        line.append(f"  has not seen its workers for {ago}: jobs go on, nothing is scaled", "yellow")
    return line


def _models(models: tuple[ModelOverview, ...]) -> Table:
    table = _table("MODEL", "PIPELINE", "STATE", right=("WORKERS", "JOBS", "LINE", "WAIT"))
    for model in models:
        serving = [worker for worker in model.workers if worker.state in _SERVING]
        jobs = sum(worker.in_flight for worker in model.workers)
        _add(
            table,
            model.name,
            model.pipeline.value,
            _coloured(model.state),
            f"{len(serving)}/{len(model.workers)}",
            f"{jobs}/{sum(worker.capacity for worker in serving)}",
            str(model.line.waiting),
            _wait(model),
        )
    return table


def _details(models: tuple[ModelOverview, ...]) -> Table:
    """What has no room in the first table, where one model alone is shown."""
    table = _table("MODEL ID", "KEPT WARM", "ASKED FOR", "BOUNDS")
    if len(models) == 1:
        (model,) = models
        bounds = "somebody else decides" if model.max_replicas is None else f"{model.min_replicas} to {model.max_replicas}"
        _add(table, model.model_id, "yes" if model.warm else "no", str(model.replicas), bounds)
    return table


def _wait(model: ModelOverview) -> str:
    """Empty where a job would be refused."""
    refused = model.state in {ModelState.UNAVAILABLE, ModelState.STOPPED}
    return "" if refused else duration(model.line.estimated_wait_ms / 1000)


def _reasons(models: tuple[ModelOverview, ...]) -> Table:
    """Why models and workers are in their state, in full; a cell of the other tables would cut it."""
    table = _table("OF", "WHY")
    for model in models:
        if model.message:
            _add(table, model.name, Text.assemble((f"{model.reason}: ", "bold") if model.reason else "", model.message))
        for worker in model.workers:
            if worker.message and worker.message != model.message:
                _add(table, worker.id, worker.message)
    return table


def _lines(models: tuple[ModelOverview, ...]) -> Table:
    table = _table("LINE OF", right=("JOBS", "CALLERS", "WORK", "OLDEST"))
    for model in models:
        line = model.line
        if line.waiting:
            waited = duration(line.oldest_seconds)
            _add(table, model.name, str(line.waiting), str(line.callers), _known(line.work_seconds), waited)
    return table


def _workers(models: tuple[ModelOverview, ...]) -> Table:
    """The workers of all models; a worker's name begins with its model's. Child processes are on no node, and some have no card."""
    workers = [worker for model in models for worker in model.workers]
    places = {"NODE": [worker.node for worker in workers], "DEVICE": [worker.device for worker in workers]}
    shown = {title: texts for title, texts in places.items() if any(texts)}
    table = _table("WORKER", *shown, "STATE", right=("JOBS", "WORK", "MS/UNIT"))
    for number, worker in enumerate(workers):
        _add(
            table,
            worker.id,
            *(texts[number] for texts in shown.values()),
            _coloured(worker.state),
            f"{worker.in_flight}/{worker.capacity}",
            _known(worker.work_seconds),
            "" if worker.ms_per_unit is None else three_digits(worker.ms_per_unit),
        )
    return table


def _decisions(models: tuple[ModelOverview, ...]) -> Table:
    """The last ones about all models, the newest first, in local time."""
    made = [(decision.time, model.name, decision) for model in models for decision in model.decisions]
    table = _table("DECIDED", "MODEL", "WORKERS", "WHY")
    for time, name, decision in sorted(made, key=lambda each: each[0], reverse=True)[:_DECISIONS]:
        why = Text.assemble((f"{decision.reason}: ", "bold"), decision.message)
        _add(table, f"{time.astimezone():%H:%M:%S}", name, f"{decision.before} → {decision.after}", why)
    return table


_WHOLE = 999.5
"""From here on three digits are none behind the point."""


def three_digits(value: float) -> str:
    """A figure with three digits, or with all that it has before the point."""
    return f"{value:.3g}" if value < _WHOLE else f"{value:,.0f}"


def _known(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _table(*left: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines. Long names are folded, never cut: people copy them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """A row of a table."""
    table.add_row(*[_to_the_letter(cell) for cell in cells])


def _to_the_letter(cell: str | Text) -> Text:
    """What a cluster says is anything: rich would take a plain string for markup, and a terminal obeys control characters."""
    text = Text(cell) if isinstance(cell, str) else cell
    text.plain = "".join(char if char.isprintable() else _harmless(char) for char in text.plain)
    return text


def _harmless(char: str) -> str:
    return " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"


def _coloured(state: ModelState | WorkerState) -> Text:
    return Text(state.value, style=_COLOURS[state])


def duration(seconds: float) -> str:
    """Seconds as people say them: ``0 s``, ``0.4 s``, ``12 s``, ``3 min``, ``2 h``."""
    if seconds < _TENTHS:
        return f"{seconds:.1f} s".replace("0.0", "0")
    if seconds < _MINUTES:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOURS else f"{seconds / 3600:.0f} h"
