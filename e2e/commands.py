"""Running other programs: their last words where they fail, their whole output in a log where that was asked for."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_LAST_WORDS = 2000


class CommandError(Exception):
    """A program failed; the text has its name, its exit code and its last words."""


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text_in: str | None = None,
    log: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run `command` and return what it printed. Raises CommandError.

    `env` comes on top of this process's variables. With `log` the output goes to the end of that file and only its tail
    comes back in an error.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=os.environ | dict(env or {}),
            cwd=cwd,
            input=text_in,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except FileNotFoundError:
        message = f"{words[0]} is not installed"
        raise CommandError(message) from None
    except subprocess.TimeoutExpired:
        message = f"{' '.join(words[:3])} did not end within {timeout:.0f} s"
        raise CommandError(message) from None
    if log is not None:
        with log.open("a") as file:
            file.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-_LAST_WORDS:]
        message = f"{' '.join(words[:3])} ended with {done.returncode}: {said}"
        raise CommandError(message)
    return done.stdout
