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
