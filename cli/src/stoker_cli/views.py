"""Ways to show a document again and again: live on a terminal, as blocks of text, as lines of JSON."""

import os
from datetime import UTC, datetime
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live

from stoker_cli.tables import tables
from stoker_contracts.overview import ModelOverview, Overview

_WIDE = 240
"""Columns where the output is no terminal: nothing is folded that a program may look for."""


class View(Protocol):
    """Where documents are shown."""

    def show(self, overview: Overview, note: str) -> None:
        """Show a document; `note` says what is wrong with the view itself."""

    def close(self) -> None:
        """Nothing more is shown."""


class LiveView:
    """Tables that are drawn anew in the same place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, overview: Overview, note: str) -> None:
        """Draw."""
        self._live.update(tables(overview, note), refresh=True)

    def close(self) -> None:
        """Leave what was drawn last."""
        self._live.stop()


class TextView:
    """Tables once, or a block with its time for each change."""

    def __init__(self, console: Console, *, watch: bool) -> None:
        self._console = console
        self._watch = watch
        self._shown: tuple[Overview, str] | None = None
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = _WIDE

    def show(self, overview: Overview, note: str) -> None:
        """Print where something is different from what was printed last."""
        now = steady(overview), note
        if now == self._shown:
            return
        if self._watch:
            space = "\n" if self._shown else ""
            click.echo(f"{space}{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        self._shown = now
        self._print(overview, note)

    def _print(self, overview: Overview, note: str) -> None:
        if self._console.is_terminal:
            self._console.print(tables(overview, note))
            return
        with self._console.capture() as printed:
            self._console.print(tables(overview, note))
        click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))

    def close(self) -> None:
        """Nothing is open."""


class JsonView:
    """The document itself, or a line for each change."""

    def __init__(self, *, watch: bool) -> None:
        self._watch = watch
        self._shown: Overview | None = None
        self._note = ""

    def show(self, overview: Overview, note: str) -> None:
        """Print where something is different; a note goes to standard error, apart from the documents."""
        if note and note != self._note:
            click.echo(note, err=True)
        self._note = note
        now = steady(overview)
        if now != self._shown:
            self._shown = now
            click.echo(overview.model_dump_json(indent=None if self._watch else 2))

    def close(self) -> None:
        """Nothing is open."""


def steady(overview: Overview) -> Overview:
    """The document without what changes as time passes, so that two of them differ where something happened."""
    blind = overview.orchestrator.blind_seconds
    orchestrator = overview.orchestrator.model_copy(update={"blind_seconds": None if blind is None else 0.0})
    return overview.model_copy(update={"orchestrator": orchestrator, "models": tuple(_steady(model) for model in overview.models)})


def _steady(model: ModelOverview) -> ModelOverview:
    line = model.line.model_copy(update={"oldest_seconds": 0.0, "estimated_wait_ms": 0})
    return model.model_copy(update={"line": line})
