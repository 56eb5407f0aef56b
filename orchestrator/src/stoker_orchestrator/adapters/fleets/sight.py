"""Whether what is followed is seen, told once each way."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from stoker_orchestrator.adapters.fleets.port import Sink
from stoker_orchestrator.domain.events import Sight

BLIND_SECONDS = 5.0
"""After so long without an answer what was told before is old."""
_LOOK_SECONDS = 0.5


class Followed(Protocol):
    """Something that is followed."""

    blind_since: float | None
    """Since when (monotonic seconds) there is no answer; None while there is."""


async def tell_sight(followed: Sequence[Followed], sink: Sink) -> None:
    """Tell when one of them could not be seen for a while, and when all are seen again; until cancelled."""
    clear = True
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        since = [each.blind_since for each in followed if each.blind_since is not None]
        sees = not since or (clear and time.monotonic() - min(since) < BLIND_SECONDS)
        if sees is not clear:
            clear = sees
            sink(Sight(clear))
