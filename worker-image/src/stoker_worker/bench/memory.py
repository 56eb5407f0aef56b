"""Memory of a model in this process: on its cards where it uses some, else of the whole process."""

import contextlib
from pathlib import Path

from stoker_worker.bench.document import Held, Memory
from stoker_worker.engine.device_memory import device_memory, reset_peaks

_KIB = 1024
_NOW, _MOST = "VmRSS", "VmHWM"


class MemoryWatch:
    """Made after the load. `begin` when it is measured, `look` after each run, and ask for the `memory` at the end.

    Each run is looked at, because an engine may begin each with a peak of its own.
    """

    def __init__(self) -> None:
        self._loaded = _held()
        self._peak = Held(allocated=0, reserved=0)

    def begin(self) -> None:
        """Forget what was in use at most up to now."""
        reset_peaks()
        with contextlib.suppress(OSError):  # proc(5), clear_refs: the kernel counts the most anew, where it has that
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def look(self) -> None:
        """A run is over."""
        found = device_memory()
        if found is not None:
            self._peak = Held(
                allocated=max(self._peak.allocated, found.peak_allocated), reserved=max(self._peak.reserved, found.peak_reserved)
            )

    def memory(self) -> Memory | None:
        """After the load and at most since `begin`; None where nobody tells."""
        if device_memory() is not None and self._loaded is not None:
            self.look()
            return Memory(of="cuda", loaded=self._loaded, peak=self._peak)
        most = _resident(_MOST)
        return None if self._loaded is None or most is None else Memory(of="process", loaded=self._loaded, peak=most)


def _held() -> Held | None:
    found = device_memory()
    return _resident(_NOW) if found is None else Held(allocated=found.allocated, reserved=found.reserved)


def _resident(field: str) -> Held | None:
    """Memory of this process as the kernel counts it (proc(5), status); None where it does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    size = next((int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{field}:")), None)
    return None if size is None else Held(allocated=size, reserved=size)
