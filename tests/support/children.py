"""Child processes, as the kernel lists them."""

import contextlib
from pathlib import Path


def children_of(parent: int, running: str) -> list[int]:
    """The children of the process `parent` whose command line has these words in it."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            is_child = f"\nPPid:\t{parent}\n" in status.read_text()
            if is_child and running in (status.parent / "cmdline").read_text():
                found.append(int(status.parent.name))
    return found
