"""``stoker-bench compare``: two results side by side."""

import sys
from pathlib import Path

import click
from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.text import Text

from stoker_worker.bench.compare import Compared, Measure, Verdict, differences
from stoker_worker.bench.compare import compare as compared
from stoker_worker.bench.document import Result
from stoker_worker.bench.files import checked_place, read_result, write_json
from stoker_worker.bench.options import word
from stoker_worker.bench.tables import milliseconds, number, seconds, show, size, table

EXIT_WORSE = 1
_COLOURS = {Verdict.FASTER: "green", Verdict.LESS: "green", Verdict.SLOWER: "red", Verdict.MORE: "red"}
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Comparison(BaseModel):
    """What ``--json`` writes."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    tool: str = "stoker-bench compare"
    measures: tuple[Compared, ...]
    differences: tuple[str, ...]


@click.command()
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@click.option(
    "--fail-above", metavar="FACTOR", type=click.FloatRange(1),
    help="End with 1 where the second is so many times worse, such as 1.1, and chance alone did not make the difference.",
)  # fmt: skip
@click.option(
    "--measure", "chosen", multiple=True, type=click.Choice([each.value for each in Measure]),
    help="What --fail-above looks at; may be repeated.  [default: mean, p50, p95, rate and failed]",
)  # fmt: skip
@click.option(
    "--json",
    "place",
    metavar="FILE",
    callback=checked_place,
    help="Write the comparison for programs too; - is standard output, and alone there.",
)
def compare(first: Path, second: Path, fail_above: float | None, chosen: tuple[str, ...], place: str | None) -> None:
    """Say whether SECOND is faster than FIRST.

    Both are files of `stoker-bench run --json`. The ratio is the second divided by the first; behind it stands where it lies with
    95 % confidence, as resampling pieces of each run tells (block bootstrap).

    \b
    faster, slower   the interval is clear of 1 and the difference is 2 % or more
    within noise     chance may have made the difference
    measured once    a load or a peak is one figure and has no spread
    too few to tell  fewer than 5 jobs on a side, or than 20 for p95

    Chance here is what varies within a run. Another hour or another host varies more: run both in turns, and more than once.

    The command ends with 0; with 1 for --fail-above, also where SECOND did no job; with 2 and a sentence where a file is no result.
    """  # noqa: D301 - click's mark for text that it must not wrap
    one, two = read_result(first), read_result(second)
    found, apart = compared(one, two), differences(one, two)
    if place is not None:
        write_json(Comparison(measures=tuple(found), differences=tuple(apart)), place)
    if place != "-":
        show(_shown(found, apart, two))
    if fail_above is not None and not two.figures.counts.done:
        click.echo("SECOND did no job.", err=True)
        sys.exit(EXIT_WORSE)
    judged = {Measure(each) for each in chosen} or set(Measure) - {Measure.LOAD, Measure.MEMORY}
    worse = [each for each in found if fail_above is not None and each.measure in judged and _exceeds(each, fail_above)]
    if worse:
        names = ", ".join(each.measure for each in worse)
        click.echo(f"Worse than {fail_above:g} times: {names}.", err=True)
        sys.exit(EXIT_WORSE)


def _exceeds(each: Compared, factor: float) -> bool:
    """A figure without a spread is taken at its word where somebody asks for it by name."""
    once = each.verdict is Verdict.ONCE and each.ratio is not None and each.ratio > factor
    return once or each.worse > factor


def _shown(found: list[Compared], apart: list[str], result: Result) -> RenderableType:
    rows = table("", right=("FIRST", "SECOND", "RATIO", "95 %"))
    rows.add_column("VERDICT")
    for each in found:
        between = "" if each.low is None else f"{each.low:.2f}–{each.high:.2f}"
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        verdict = Text(each.verdict.value, style=_COLOURS.get(each.verdict, ""))
        rows.add_row(_name(each.measure, result), *(_figure(each.measure, value) for value in (each.first, each.second)),
                     ratio, between, verdict)  # fmt: skip
    if not apart:
        return rows
    return Group(rows, "", Text("Not the same in both:", style="yellow"), *(Text(f"  {line}") for line in apart))


def _name(measure: Measure, result: Result) -> str:
    match measure:
        case Measure.MEAN | Measure.P50 | Measure.P95:
            return f"latency, {measure}"
        case Measure.RATE:
            return f"{word(result.target.pipeline)}/s"
        case Measure.LOAD | Measure.MEMORY | Measure.FAILED:
            return {Measure.LOAD: "load", Measure.MEMORY: "memory, peak", Measure.FAILED: "failed jobs"}[measure]


def _figure(measure: Measure, value: float) -> str:
    match measure:
        case Measure.RATE:
            return number(value)
        case Measure.LOAD:
            return seconds(value)
        case Measure.MEMORY:
            return size(int(value))
        case Measure.FAILED:
            return f"{value:.1%}"
        case _:
            return milliseconds(value)
