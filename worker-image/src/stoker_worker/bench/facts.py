"""What a result must say of the host and of the libraries, so that it can be compared."""

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stoker_worker.bench.document import Held

_LIBRARIES, _TORCH = ("numpy", "isal", "av"), ("torch", "diffusers", "transformers")
_KIB = 1024


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


def resident() -> tuple[Held, Held] | None:
    """Memory of this process now and at most so far, as the kernel counts it; None where it does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = {line.partition(":")[0]: line.split() for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    if len(sizes) != len(("VmRSS", "VmHWM")):
        return None
    now, most = (int(sizes[name][1]) * _KIB for name in ("VmRSS", "VmHWM"))
    return Held(allocated=now, reserved=now), Held(allocated=most, reserved=most)


def forget_most_resident() -> None:
    """Let the kernel count anew what was resident at most (proc(5), clear_refs); without effect where it does not."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
