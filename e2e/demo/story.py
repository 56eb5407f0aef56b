"""What a demonstration tells while it goes: steps with their times, and at the end what to try next."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Story:
    """Tells steps as they happen. A step that takes long shows that it goes on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Tell that `what` begins, and how long it took."""
        began = time.monotonic()
        print(f"  {what} ...", end="", flush=True)
        try:
            yield
        except BaseException:
            print(" failed", flush=True)
            raise
        self.seconds[what] = time.monotonic() - began
        print(f"\r  {what:<58}{self.seconds[what]:7.1f} s", flush=True)

    def tell(self, line: str) -> None:
        """A line between steps."""
        print(f"  {line}", flush=True)

    def heading(self, line: str) -> None:
        """The start of a chapter."""
        print(f"\n{line}", flush=True)

    def end(self, commands: list[str]) -> None:
        """How long everything took, and what to try next."""
        print(f"\nDone in {time.monotonic() - self._began:.0f} s. Try next:")
        for command in commands:
            print(f"  {command}")
        sys.stdout.flush()
