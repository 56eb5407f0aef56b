"""Programs under measurement: started on one core, waited for, looked at, and stopped whatever happens."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 20


class BenchmarkError(Exception):
    """The benchmark cannot be run here; the text says why and what helps."""


def two_cores() -> tuple[int, int]:
    """The cores for the ends and for what stands between them. Raises BenchmarkError where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        message = "two CPU cores are needed: one for the load, one for what is measured"
        raise BenchmarkError(message)
    return cores[0], cores[-1]


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str | Path], core: int, log: Path, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """`command`, bound to `core`, its words in `log`. Yields its process id; it is stopped after the block."""
    with log.open("ab") as words:
        pinned = ["taskset", "--cpu-list", str(core), *map(str, command)]
        process = subprocess.Popen(pinned, stdout=words, stderr=words, env=os.environ | dict(env or {}))
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(port: int, log: Path) -> None:
    """Return once somebody listens on `port`. Raises BenchmarkError with the program's last words."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    message = f"nothing listens after {_START_SECONDS} s; last words: {log.read_text(errors='replace')[-500:].strip() or 'none'}"
    raise BenchmarkError(message)


def family(pid: int) -> list[int]:
    """`pid` and the processes that it started, from whichever of its threads."""
    children = [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return [pid, *(int(child) for child in children)]


def cpu_seconds(pid: int) -> float:
    """CPU time that `pid` and its children have used."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def peak_rss_mb(pid: int) -> float:
    """The most memory that `pid` has had so far, in units of 10^6 bytes."""
    return _status_mb(pid, "VmHWM:")


def rss_mb(pid: int) -> float:
    """The memory that `pid` has now, in units of 10^6 bytes."""
    return _status_mb(pid, "VmRSS:")


def _status_mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    message = f"process {pid} has ended"
    raise BenchmarkError(message)
