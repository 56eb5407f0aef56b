"""Orchestrators come, stop, die and lose each other while jobs run: no slot is given out twice, and no job is forgotten."""

import asyncio
import random

import httpx2
import pytest

from tests.support.peers import Company, Replica, company
from tests.support.waiting import until

JOBS = 120


class Callers:
    """Send jobs to whoever lives; a job whose orchestrator dies, or takes none any more, is sent again."""

    def __init__(self, them: Company, chance: random.Random) -> None:
        self.answers: list[httpx2.Response] = []
        self._them = them
        self._random = chance

    async def job(self, number: int) -> None:
        while True:
            serving = [each for each in self._them.replicas if not each.orchestrator.server.stopping]
            task = self._random.choice(serving).job(f"job-{number}")
            await asyncio.wait((task,))
            if not task.cancelled() and "stopping" not in task.result().text:
                self.answers.append(task.result())
                return

    async def all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(JOBS):
                group.create_task(self.job(number))
                await asyncio.sleep(self._random.expovariate(40))


class Mischief:
    """What happens to the orchestrators meanwhile. It is not cancelled, for it cancels others and could not tell whom is meant."""

    def __init__(self, them: Company, chance: random.Random) -> None:
        self._them = them
        self._random = chance
        self._names = iter(range(3, 1000))
        self.over = False

    async def go_on(self) -> None:
        while not self.over:
            await asyncio.sleep(self._random.uniform(0.1, 0.5))
            victim = self._random.choice(self._them.replicas)
            await self._random.choice((self._kill, self._stop, self._break, self._start, self._away))(victim)

    async def _kill(self, victim: Replica) -> None:
        if len(self._them.replicas) > 2:
            await self._them.kill(victim)

    async def _stop(self, victim: Replica) -> None:
        if len(self._them.replicas) > 2:
            await self._them.stop(victim)

    async def _break(self, victim: Replica) -> None:
        victim.cut()

    async def _start(self, _: Replica) -> None:
        if len(self._them.replicas) < 4:
            await self._them.start(f"o-{next(self._names)}")

    async def _away(self, victim: Replica) -> None:
        victim.leases.away = True
        await asyncio.sleep(self._random.uniform(0.1, 0.5))
        victim.leases.away = victim not in self._them.replicas


@pytest.mark.parametrize("seed", range(4))
async def test_no_slot_is_given_out_twice_and_every_job_is_served(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - chance decides what breaks, it keeps no secret
    async with company(3) as them:
        gauges = [await them.worker(name, capacity, open_=True) for name, capacity in (("a", 1), ("b", 2), ("c", 1))]
        for gauge in gauges:
            gauge.seconds = 0.09
        callers = Callers(them, chance)
        mischief = Mischief(them, chance)
        going_on = asyncio.create_task(mischief.go_on())
        await callers.all()
        mischief.over = True
        await going_on
        for replica in them.replicas:
            replica.leases.away = False
        await until(them.settled)
        await until(lambda: all(each.in_flight() == 0 and each.board.waiting("m") == 0 for each in them.replicas))

    assert [answer.status_code for answer in callers.answers] == [200] * JOBS
    assert them.too_many == []
