"""External containers that are followed."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stoker_orchestrator.adapters.fleets.urls import UrlFleet
from stoker_orchestrator.adapters.health import HealthCheck
from stoker_orchestrator.adapters.tokens import Tokens
from stoker_orchestrator.domain.events import FleetEvent
from stoker_orchestrator.domain.health import Health
from stoker_orchestrator.domain.model import EndpointState, Model, Url
from stoker_orchestrator.domain.registry import Registry
from tests.support.fleet import PlayedFleet, model, seen
from tests.support.waiting import until

PATIENCE, INTERVAL = 0.2, 0.05


TOKEN = "s3cret-t0ken"


def external(*places: Url, **others: Any) -> Model:
    return model(**({"urls": places, "scaling": None, "health_seconds": INTERVAL} | others))


class Followed:
    """A fleet with containers, and the registry that an orchestrator makes of what it tells."""

    def __init__(self, inner: PlayedFleet, tokens: Tokens, trust: ssl.SSLContext) -> None:
        self.inner = inner
        self.busy: set[str] = set()
        self.leads = True
        check = HealthCheck(tokens, trust, PATIENCE)
        self.fleet = UrlFleet(inner, tokens, check, self.busy.__contains__, lambda: self.leads)
        self.events: list[FleetEvent] = []
        self.registry = Registry()

    def take(self, event: FleetEvent) -> None:
        self.events.append(event)
        self.registry.apply(event, 0.0)

    def states(self) -> list[EndpointState]:
        return [each.state for each in self.registry.endpoints]

    def troubles(self) -> list[str]:
        return [each.trouble for each in self.registry.endpoints]

    @property
    def model(self) -> Model:
        known = self.registry.model("m")
        assert known is not None
        return known


@asynccontextmanager
async def following(*models: Model, folder: Path | None = None, trust: ssl.SSLContext | None = None) -> AsyncIterator[Followed]:
    here = Followed(PlayedFleet(*seen(*models)), Tokens(folder), trust or ssl.create_default_context())
    task = asyncio.create_task(here.fleet.run(here.take))
    try:
        await until(lambda: here.registry.synced or task.done())
        yield here
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def look(url: Url, trust: ssl.SSLContext | None = None, folder: Path | None = None) -> Health:
    check = HealthCheck(Tokens(folder), trust or ssl.create_default_context(), PATIENCE)
    try:
        return await check.look(url)
    finally:
        await check.close()
