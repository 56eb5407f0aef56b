"""What is learnt from how a job's time on its worker ended, over real HTTP to workers on loopback."""

import pytest
from aiohttp import web

from tests.support.orchestrator import JOB, World, world
from tests.support.waiting import until


async def refuse(_: web.Request) -> web.StreamResponse:
    return web.json_response({"detail": [{"msg": "no"}]}, status=422)


def learnt(here: World) -> tuple[float, float]:
    """Seconds per unit of the model, and the pace of its first worker."""
    registry = here.orchestrator.broker.registry
    return registry.rates.per_unit("m"), registry.endpoints[0].pace


@pytest.mark.parametrize("headers", [{}, {"Stoker-Timeout": "9"}], ids=["the short way", "the long way"])
async def test_a_job_that_its_worker_refuses_teaches_nothing(headers: dict[str, str]) -> None:
    async with world() as here:
        worker = await here.worker("w")
        assert (await here.post(json=JOB)).status_code == 200
        await until(lambda: here.orchestrator.broker.registry.rates.known("m"))
        before = learnt(here)
        worker.behaviour = refuse
        answer = await here.post(json=JOB, headers=headers)
        await until(lambda: here.orchestrator.jobs.in_flight == 0)

        assert answer.status_code == 422
        assert learnt(here) == before


async def test_a_refusal_shows_that_a_worker_lives() -> None:
    async with world() as here:
        worker = await here.worker("w", refuse)
        registry, outliers = here.orchestrator.broker.registry, here.orchestrator.broker.switchboard.outliers
        outliers.failed(registry.endpoints[0])
        await here.post(json=JOB)

        assert outliers.failed(registry.endpoints[0]) == []
    assert len(worker.requests) == 1
