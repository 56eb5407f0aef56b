"""What a result must say of the host and of the libraries, so that it can be compared."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES, _TORCH = ("numpy", "isal", "av"), ("torch", "diffusers", "transformers")


def tool_version() -> str:
    """Of the package that this command comes with."""
    try:
        return version("stoker-worker")
    except PackageNotFoundError:  # the image has the code alone
        return "unknown"


def versions(*, with_torch: bool) -> dict[str, str]:
    """Python, and those libraries that decide about speed."""
    found = {"python": platform.python_version(), "stoker-worker": tool_version()}
    for name in (*_LIBRARIES, *(_TORCH if with_torch else ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The CPU's name and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"CPU {_cpu_name()}, {cores} core{'s' if cores > 1 else ''}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
