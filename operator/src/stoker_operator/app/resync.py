"""Looking at everything again from time to time, so that nothing missed stays missed."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable

from stoker_operator.adapters.port import Cluster, ClusterError, Kind
from stoker_operator.domain.keys import CONFIGS, Key, Scope

log = logging.getLogger(__name__)

_FIRST_PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries to list, the last one repeated."""


class Resync:
    """Lists all ModelDeployments and asks for a reconcile of each, and of those that were there the last time."""

    def __init__(self, cluster: Cluster, add: Callable[[Iterable[Key]], None], period: float) -> None:
        self._cluster = cluster
        self._add = add
        self._period = period
        self._known: set[Key] = set()
        self._hurry = asyncio.Event()
        self.last: float | None = None
        """When everything was last listed, in the loop's time."""

    def soon(self) -> None:
        """Do not wait for the next turn: events may have been missed."""
        self._hurry.set()

    async def first(self) -> None:
        """List everything, however long the API server stays away."""
        for pause in itertools.chain(_FIRST_PAUSES, itertools.repeat(_FIRST_PAUSES[-1])):
            if await self._once():
                return
            await asyncio.sleep(pause)

    async def run(self) -> None:
        """List everything each period, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._period):
                    await self._hurry.wait()
            except TimeoutError:
                log.debug("resync")
            self._hurry.clear()
            if not await self._once():
                await asyncio.sleep(min(_FIRST_PAUSES[-1], self._period))
                self._hurry.set()

    async def _once(self) -> bool:
        try:
            found = await self._cluster.list(Kind.MODEL_DEPLOYMENT)
        except ClusterError as error:
            log.warning("the ModelDeployments cannot be listed: %s", error)
            return False
        now = {Key(Scope.MODEL, item["metadata"]["name"]) for item in found} | {CONFIGS}
        self._add(sorted(now | self._known))
        self._known = now
        self.last = asyncio.get_running_loop().time()
        return True
