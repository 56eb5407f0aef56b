"""What a person sees on standard error while it is measured."""

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

EVERY_SECONDS = 5.0
"""How often a line is written where there is no terminal."""


class View(Protocol):
    """Where it is told how far a benchmark is."""

    def say(self, words: str) -> None:
        """A stage begins or is over."""

    def begin(self, total: int | None) -> None:
        """Jobs are sent; None where nobody knows how many."""

    def count(self, *, failed: bool) -> None:
        """One job has ended."""

    def end(self) -> None:
        """No more jobs."""


class Lines:
    """Plain lines, for logs."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._total: int | None = None
        self._ended = self._failed = 0
        self._said = 0.0

    def say(self, words: str) -> None:
        """One line."""
        self._console.print(words, markup=False, emoji=False)

    def begin(self, total: int | None) -> None:
        """Start to count."""
        self._total, self._ended, self._failed, self._said = total, 0, 0, self._clock()

    def count(self, *, failed: bool) -> None:
        """A line from time to time."""
        self._ended += 1
        self._failed += failed
        if self._clock() - self._said >= EVERY_SECONDS:
            self._said = self._clock()
            of = "" if self._total is None else f" of {self._total}"
            self.say(f"{self._ended}{of} jobs, {self._failed} failed")

    def end(self) -> None:
        """The report says the rest."""


class Bar:
    """A bar that fills, on a terminal; one that moves where nobody knows how many jobs there will be."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._failed = 0
        self._bar = Progress(
            TextColumn("{task.completed} jobs"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[failed]}", style="red"), console=console, transient=True, refresh_per_second=4,
        )  # fmt: skip
        self._task = self._bar.add_task("jobs", total=None, failed="", visible=False)

    def say(self, words: str) -> None:
        """One line above the bar."""
        self._console.print(words, markup=False, emoji=False)

    def begin(self, total: int | None) -> None:
        """Show the bar."""
        self._failed = 0
        self._bar.reset(self._task, total=total, visible=True, failed="")
        self._bar.start()

    def count(self, *, failed: bool) -> None:
        """Let it grow."""
        self._failed += failed
        self._bar.update(self._task, advance=1, failed=f"{self._failed} failed" if self._failed else "")

    def end(self) -> None:
        """Take it away."""
        self._bar.stop()


def view(console: Console) -> View:
    """The view that suits standard error."""
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)
