"""Workers as real processes on this host."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError, free_port
from stoker_contracts.worker import Variable

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_LOAD_SECONDS = 90.0
_LOOK_EVERY_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that listens on `port`; `seconds` is the time from exec to its first answer on /health."""

    process: "subprocess.Popen[bytes]"
    port: int
    seconds: float

    def wait_until_loaded(self) -> None:
        """Return once /ready says so. Raises BenchmarkError."""
        deadline = time.monotonic() + _LOAD_SECONDS
        while status(self.port, "/ready") != http.HTTPStatus.OK:
            if self.process.poll() is not None or time.monotonic() > deadline:
                message = f"the worker did not load its model within {_LOAD_SECONDS:.0f} s"
                raise BenchmarkError(message)
            time.sleep(0.05)


def status(port: int, path: str) -> int | None:
    """The status of one GET; None where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def _without_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of this process but for those that a worker reads: on somebody's machine they may mean another program."""
    return {name: value for name, value in variables.items() if name not in set(Variable)}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "none"


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[Worker]:
    """A worker with these variables, its termination message in `folder`. Raises BenchmarkError."""
    port = free_port()
    told = folder / f"worker-{port}.log"
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "TERMINATION_MESSAGE_PATH": str(folder / "termination")} | settings
    environment = _without_settings(os.environ) | ONE_THREAD | variables
    began = time.monotonic()
    with told.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "stoker_worker"], env=environment, stderr=log)
    try:
        while status(port, "/health") is None:
            if process.poll() is not None or time.monotonic() - began > _LOAD_SECONDS:
                message = f"the worker did not listen; its last words: {_last_line(told)}"
                raise BenchmarkError(message)
            time.sleep(_LOOK_EVERY_SECONDS)
        yield Worker(process, port, time.monotonic() - began)
    finally:
        process.kill()
        process.wait()
