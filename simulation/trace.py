"""What happened, as a hash over everything and as words for the latest of it."""

import hashlib
from collections import deque
from collections.abc import Callable

_KEPT = 60


class Trace:
    """Two worlds with the same trace are the same world, in whatever process they ran."""

    def __init__(self, clock: Callable[[], float], kept: int = _KEPT) -> None:
        self._clock = clock
        self._hash = hashlib.blake2b(digest_size=8)
        self._latest: deque[str] = deque(maxlen=kept)

    def note(self, words: str) -> None:
        """Something happened."""
        line = f"{self._clock():.6f} {words}"
        self._hash.update(line.encode())
        self._latest.append(line)

    @property
    def hash(self) -> str:
        """Of everything until now."""
        return self._hash.hexdigest()

    @property
    def latest(self) -> list[str]:
        """The last things that happened, the newest last."""
        return list(self._latest)
