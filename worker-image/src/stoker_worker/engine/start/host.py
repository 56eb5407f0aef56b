"""Memory of the host that this process may take."""

from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def free_bytes(group: Path = _GROUP, meminfo: Path = _MEMINFO) -> int:
    """Bytes that could be taken now without others being evicted: the host's, or what a container's limit leaves.

    Files in the page cache that have not been used of late count as free in both. 0 where the kernel does not tell.
    """
    available = 1024 * _figure(meminfo, "MemAvailable:")
    limit = _number(group / "memory.max")
    if limit is None:
        return available
    used = (_number(group / "memory.current") or 0) - _figure(group / "memory.stat", "inactive_file")
    return max(0, min(available, limit - used))


def _figure(file: Path, name: str) -> int:
    """The number that follows `name` in a file of named numbers."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none, or no limit."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
