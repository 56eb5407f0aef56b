"""One pod on a fake kubelet, from its binding to its end."""

import asyncio
import itertools
from contextlib import suppress

from e2e.cluster.pod_status import Exit, PodStatus, Script
from e2e.cluster.rest import Item, Rest, insist

_ADDRESSES = itertools.count(1)
"""Over all kubelets of this process, so that no two pods share an address."""

Order = bool | Exit
"""To a running container: be ready or not, or end."""


class FakePod:
    """Lives as its script says; `orders` change it while it runs."""

    def __init__(self, pod: Item, rest: Rest, tasks: asyncio.TaskGroup) -> None:
        meta, number = pod["metadata"], next(_ADDRESSES)
        self.path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self.orders: asyncio.Queue[Order] = asyncio.Queue()
        self._uid = meta["uid"]
        self._script = Script.of(pod)
        self._policy = pod["spec"].get("restartPolicy", "Always")
        self._status = PodStatus(pod, f"127.{128 + number // 2**16 % 128}.{number // 2**8 % 2**8}.{number % 2**8}")
        self._rest = rest
        self._stopped = False
        self._tasks = tasks
        self._task = tasks.create_task(self._live())

    def stop(self, grace: float) -> None:
        """The pod is to be deleted: its containers end within `grace` seconds."""
        if not self._stopped:
            self._stopped = True
            self._task.cancel()
            self._task = self._tasks.create_task(self._end(min(grace, self._script.stop_seconds)))

    def abandon(self) -> None:
        """Do nothing more."""
        self._task.cancel()

    async def remove(self) -> bool:
        """Remove the pod from the API."""
        return await self._rest.delete(self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}})

    async def _live(self) -> None:
        if self._script.pull_error:
            await self._report(self._status.pull_failed(self._script.pull_error))
            return
        while True:
            await self._report(self._status.started())
            ended = await self._until_end()
            if self._policy == "Never" or (self._policy == "OnFailure" and ended.code == 0):
                await self._report(self._status.ended(ended, "Failed" if ended.code else "Succeeded"))
                return
            await self._report(self._status.ended(ended))
            await self._report(self._status.backing_off())
            await asyncio.sleep(self._script.back_off_seconds)
            self._status.restarts += 1

    async def _until_end(self) -> Exit:
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._killed(), self._script.start_seconds)
        scripted = self._script.end(self._status.restarts)
        if scripted is not None:
            return scripted
        if self._policy != "Always":
            return Exit()
        await self._report(self._status.running(ready=True))
        return await self._killed()

    async def _killed(self) -> Exit:
        """How the container is ended from outside; its readiness may change before."""
        while True:
            order = await self.orders.get()
            if isinstance(order, Exit):
                return order
            await self._report(self._status.running(ready=order))

    async def _end(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await insist(self.remove)

    async def _report(self, status: Item) -> None:
        change = {"metadata": {"uid": self._uid}, "status": status}
        await insist(lambda: self._rest.patch(f"{self.path}/status", change))
