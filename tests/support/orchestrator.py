"""An orchestrator in process on a port of loopback, with a fleet that a test plays and workers over real HTTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2

from stoker_orchestrator.app.process import Orchestrator
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.domain.model import Model
from tests.support.fleet import PlayedFleet, endpoint, model, seen
from tests.support.waiting import until
from tests.support.workers import Behaviour, FakeWorker, echo

JOB = {"prompt": "a red circle", "model_id": "org/m"}


class World:
    """An orchestrator with a played fleet and fake workers."""

    def __init__(self, stack: AsyncExitStack, settings: Settings, fleet: PlayedFleet) -> None:
        self.orchestrator = Orchestrator(settings, fleet)
        self.fleet = fleet
        self.url = ""
        self.client = httpx2.AsyncClient()
        self._stack = stack

    async def listen(self) -> None:
        """Serve, and make a client of what is served."""
        self.url = f"http://127.0.0.1:{await self.orchestrator.server.listen('127.0.0.1', 0)}"
        self.client = self.caller()

    def caller(self) -> httpx2.AsyncClient:
        """One more client, with connections of its own; the test closes it."""
        return httpx2.AsyncClient(base_url=self.url, timeout=20)

    async def worker(
        self,
        identity: str,
        behaviour: Behaviour = echo,
        of: str = "m",
        capacity: int = 1,
        *,
        deaf: bool = False,
        says: dict[str, Any] | None = None,
    ) -> FakeWorker:
        """A worker that is ready; `says` is what it says of itself, by path."""
        worker = await self._stack.enter_async_context(FakeWorker(behaviour, deaf=deaf).running())
        worker.says = says or {}
        self.fleet.tell(endpoint(identity, of, capacity, address=worker.address))
        return worker

    async def post(self, path: str = "/text-to-image", **request: Any) -> httpx2.Response:
        return await self.client.post(path, **request)

    def metric(self, name: str, **labels: str) -> float:
        """The value of one metric; 0 where nothing was counted yet."""
        return self.orchestrator.metrics.registry.get_sample_value(name, labels) or 0.0

    def aged(self, seconds: float) -> bool:
        """Whether the job that waits longest has waited so long."""
        line = self.orchestrator.broker.switchboard.line("m")
        return line is not None and line.oldest(time.monotonic()) >= seconds

    @property
    def waiting(self) -> int:
        return self.orchestrator.broker.switchboard.waiting("m")


@asynccontextmanager
async def world(*models: Model, **settings: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        fleet = PlayedFleet(*seen(*(models or (model(start_timeout=20),))))
        made = World(stack, Settings(fleet="kubernetes", namespace="n", **settings), fleet)
        following = asyncio.create_task(made.orchestrator.broker.run())
        await until(lambda: made.orchestrator.broker.registry.synced)
        await made.listen()
        try:
            yield made
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                await following
            await made.orchestrator._prober.close()
            await made.client.aclose()
            await made.orchestrator.server.close()
            made.orchestrator._upstream.close()


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]
