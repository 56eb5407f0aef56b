"""An orchestrator over external containers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from aiohttp import web

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.domain.model import EndpointState, Model, Url
from tests.support.fleet import model
from tests.support.orchestrator import World, world
from tests.support.runners import FakeRunner
from tests.support.workers import Behaviour

INTERVAL = 0.05


FORM = {"model_id": "org/m", "fps": "12"}


FILES = {"image": ("a.png", b"not looked at", "image/png")}


def external(*places: Url, **others: Any) -> Model:
    return model(**({"urls": places, "scaling": None, "health_seconds": INTERVAL, "start_timeout": 20} | others))


@asynccontextmanager
async def served(*runners: FakeRunner, key: str | None = None, **others: Any) -> AsyncIterator[World]:
    settings = {"tokens_dir": others.pop("tokens_dir")} if "tokens_dir" in others else {}
    async with AsyncExitStack() as stack:
        for runner in runners:
            await stack.enter_async_context(runner.running())
        urls = [runner.url(others.get("capacity", 1), key) for runner in runners]
        yield await stack.enter_async_context(world(external(*urls, **others), **settings))


def states(here: World) -> list[EndpointState]:
    return [each.state for each in here.orchestrator.broker.registry.endpoints]


def saying(status: int, body: Any, **headers: str) -> Behaviour:
    async def behaviour(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return behaviour


VIDEO = {"pipeline": Pipeline.IMAGE_TO_VIDEO}


async def video(here: World, **headers: str) -> httpx2.Response:
    return await here.post("/image-to-video", data=FORM, files=FILES, headers=headers)
