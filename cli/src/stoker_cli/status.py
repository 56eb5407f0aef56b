"""``stoker status``: models, workers and lines, once or live."""

import contextlib
import functools
import time
from collections.abc import Callable

import click
import httpx2
from rich.console import Console

from stoker_cli.client import DEFAULT_URL, AwayError, Orchestrator, OrchestratorError
from stoker_cli.views import JsonView, LiveView, TextView, View
from stoker_contracts.overview import Overview

EVERY_SECONDS = 1.0


def _checked(_: click.Context, __: click.Parameter, value: str) -> str:
    with contextlib.suppress(httpx2.InvalidURL):
        url = httpx2.URL(value)
        if url.scheme in {"http", "https"} and url.host:
            return value
    message = f"give a URL such as {DEFAULT_URL}"
    raise click.BadParameter(message)


@click.command()
@click.argument("model", required=False)
@click.option(
    "--url", metavar="URL", envvar="STOKER_URL", callback=_checked, default=DEFAULT_URL, show_default=True, show_envvar=True,
    help="The orchestrator.",
)  # fmt: skip
@click.option("--watch", "-w", is_flag=True, help="Stay, and show what changes until Ctrl-C.")
@click.option(
    "--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="Tables for people, or the document for programs; with --watch one line for each change.",
)  # fmt: skip
def status(model: str | None, url: str, output: str, *, watch: bool) -> None:
    """Show models, their workers, and who waits.

    With MODEL, a resource's name or a model id, nothing but that model is shown.

    \b
    STATE        what becomes of a job that is sent now
    serving      a worker takes it, at once or when a slot is free
    starting     it waits for a worker that is on its way
    cold         it starts a worker and waits for it
    waits        it waits until another model makes room on a device
    unavailable  it is refused; WHY says what is wrong
    stopped      it is refused: no worker runs, and none may be started

    \b
    ASKED FOR    workers that are wanted now, within BOUNDS while activity decides
    WORKERS      those that take jobs, of all there are
    JOBS         those under way, of as many as run at a time
    LINE         jobs that wait
    WAIT         what a job sent now waits before it starts, as far as known
    WORK         how long the declared work of jobs takes one worker
    OLDEST       how long the job waits that waits longest
    DEVICE       the cards that a worker says it has
    MS/UNIT      milliseconds for a step of a megapixel, as measured
    DECIDED      when the number of workers was changed, and why

    \b
    Workers are starting, ready, draining (no new jobs, then gone), leaving
    (gone when idle) or ejected (failed; back when they answer a probe).

    On a cluster the orchestrator is brought to this host by:

    \b
      kubectl --namespace stoker port-forward service/stoker-orchestrator 8935

    The command ends with 0, or with 1 and a sentence where the orchestrator cannot be asked.
    """  # noqa: D301 - click's mark for text that it must not wrap
    console = Console(highlight=False, soft_wrap=False)
    with Orchestrator(url) as orchestrator:

        def look() -> Overview:
            return narrowed(orchestrator.overview(), model)

        if not watch:
            _view(output, console, watch=False).show(look(), "")
            return
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(_view(output, console, watch=True)) as view:
            follow(look, view, functools.partial(time.sleep, EVERY_SECONDS))


def follow(look: Callable[[], Overview], view: View, pause: Callable[[], None]) -> None:
    """Look and show for ever. An orchestrator that goes away is waited for, because it comes back in a rollout."""
    last = look()
    view.show(last, "")
    while True:
        pause()
        note = ""
        try:
            last = look()
        except AwayError:
            note = "Nobody answers. What stands here was so before."
        view.show(last, note)


def narrowed(overview: Overview, model: str | None) -> Overview:
    """The document with one model alone, by its name or its id. Raises OrchestratorError where there is none."""
    if model is None:
        return overview
    found = tuple(each for each in overview.models if model in {each.name, each.model_id})
    if not found:
        names = ", ".join(each.name for each in overview.models) or "none at all"
        message = f"There is no model {model!r}. There are: {names}."
        raise OrchestratorError(message)
    return overview.model_copy(update={"models": found})


def _view(output: str, console: Console, *, watch: bool) -> View:
    if output == "json":
        return JsonView(watch=watch)
    if watch and console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return TextView(console, watch=watch)
