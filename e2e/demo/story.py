"""What a demonstration tells between its steps, and at the end what to try next."""

import time


class Story:
    """Chapters, lines and an end."""

    def __init__(self) -> None:
        self._began = time.monotonic()

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
            print(f"  {command}", flush=True)
