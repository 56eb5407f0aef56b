"""A program that runs beside us, writes to a log, and ends when we do, whatever ends us."""

import os
import subprocess
import sys
from pathlib import Path

from stoker_orchestrator.adapters.fleets import launcher

_LAST_WORDS = 1500


class Daemon:
    """One program and its log. It may be killed and started again.

    The kernel kills it when the thread that started it ends, so start it from a thread that lives as long as it should.
    """

    def __init__(self, command: list[str], folder: Path, log: Path) -> None:
        self._command = command
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in its folder; in a session of its own, so that Ctrl-C reaches only us, who know the order of the end."""
        bound = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *self._command]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(bound, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def kill(self) -> None:
        """End it at once, without a chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-_LAST_WORDS:].strip()
