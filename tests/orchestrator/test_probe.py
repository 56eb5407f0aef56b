"""Asking many workers at once whether they live."""

import asyncio

import pytest

from stoker_orchestrator.adapters import probe
from stoker_orchestrator.adapters.probe import Prober
from tests.support.waiting import until
from tests.support.workers import FakeWorker

HUNG = 120
"""More than the connections that an HTTP client opens by default."""


async def test_a_worker_that_lives_is_found_alive_however_many_others_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_SECONDS", 60.0)
    prober = Prober()
    async with FakeWorker(deaf=True).running() as hangs, FakeWorker().running() as lives:
        probes = [asyncio.create_task(prober.probe(hangs.address)) for _ in range(HUNG)]
        await until(lambda: hangs.probes == HUNG)

        assert (await prober.probe(lives.address)).alive

        assert not any(each.done() for each in probes)
        for each in probes:
            each.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        await prober.close()


@pytest.mark.parametrize(("status", "alive"), [(404, True), (500, True), (502, False), (503, False), (504, False)])
async def test_a_proxys_own_answer_is_no_sign_of_life_of_what_is_behind_it(status: int, alive: bool) -> None:  # noqa: FBT001 - a case
    prober = Prober()
    async with FakeWorker(ready_status=status).running() as worker:
        assert (await prober.probe(worker.address)).alive is alive
    await prober.close()
