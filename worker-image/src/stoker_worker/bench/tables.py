"""Pieces that all reports are made of: figures as people say them, and tables without lines."""

import os
from collections.abc import Sequence

import click
from rich.console import Console, RenderableType
from rich.table import Table

_SECOND = 1000
_WIDE = 240
"""Columns where the output is no terminal: nothing is folded that a program may look for."""
_MIB, _GIB = 2**20, 2**30


def milliseconds(value: float) -> str:
    """Milliseconds with three digits that count: ``0.52 ms``, ``52.1 ms``, ``5.21 s``."""
    return f"{_digits(value)} ms" if value < _SECOND else f"{_digits(value / 1000)} s"


def seconds(value: float) -> str:
    """Seconds with three digits that count."""
    return f"{_digits(value)} s"


def number(value: float) -> str:
    """A rate, or a share."""
    return _digits(value)


def size(count: int) -> str:
    """Bytes as MiB or GiB."""
    return f"{count / _MIB:.0f} MiB" if count < _GIB else f"{count / _GIB:.2f} GiB"


def some(count: int, word: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def table(*left: str, right: Sequence[str] = ()) -> Table:
    """A table without lines. Long words are folded, never cut: people copy them."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def show(what: RenderableType) -> None:
    """To standard output; as plain lines where that is no terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(what)
        return
    if "COLUMNS" not in os.environ:
        console.width = _WIDE
    with console.capture() as printed:
        console.print(what)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _digits(value: float) -> str:
    magnitude = abs(value)
    for bound, digits in ((100, 0), (10, 1), (1, 2)):
        if magnitude >= bound:
            return f"{value:.{digits}f}"
    return "0" if value == 0 else f"{value:.3f}" if magnitude >= 0.1 else f"{value:.2g}"  # noqa: PLR2004
