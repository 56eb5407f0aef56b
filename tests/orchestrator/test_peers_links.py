"""Links between orchestrators that break, and orchestrators that vanish."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from stoker_orchestrator.domain.election import Write
from tests.support.network import Line
from tests.support.peers import company, statuses
from tests.support.waiting import until


async def test_a_link_that_dies_silently_is_noticed_and_nothing_is_lost() -> None:
    async with AsyncExitStack() as stack:
        them = await stack.enter_async_context(company(1))
        leader = them.leader
        line = await stack.enter_async_context(Line(int(leader.peers._election.me.address.rpartition(":")[2])))
        leader.leases.address = f"127.0.0.1:{line.port}"
        await until(lambda: them.lease.seen.holder is not None and them.lease.seen.holder.address.endswith(str(line.port)))
        follower = await them.start("o-1")
        gauge = await them.worker("w", capacity=2)
        jobs = [follower.job(), follower.job(), follower.job()]
        await until(lambda: gauge.running == 2 and leader.board.waiting("m") == 1)
        line.freeze()
        await until(lambda: not follower.linked)
        await until(lambda: follower.linked)
        await until(lambda: leader.board.waiting("m") == 1 and leader.in_flight() == 2)
        gauge.let(3)
        await asyncio.wait(jobs)
        assert statuses(jobs) == [200] * 3
        assert leader.leading
        assert not them.too_many


async def test_a_connection_that_breaks_gives_no_slot_away_twice() -> None:
    async with company(2) as them:
        gauge = await them.worker("w")
        (follower,) = them.followers
        first = follower.job()
        await until(lambda: gauge.running == 1)
        second = them.leader.job()
        await until(lambda: them.leader.board.waiting("m") == 1)
        wire = follower.peers._link._wire
        follower.cut()
        await until(lambda: follower.linked and follower.peers._link._wire is not wire)
        await until(lambda: not them.leader.peers._followers._absent)
        assert them.leader.in_flight() == 1
        assert them.leader.board.waiting("m") == 1
        gauge.let(2)
        assert ((await first).status_code, (await second).status_code) == (200, 200)
        assert gauge.most == 1


async def test_a_slot_is_as_old_as_before_after_its_connection_broke() -> None:
    async with company(2) as them:
        gauge = await them.worker("w")
        (follower,) = them.followers
        job = follower.job()
        await until(lambda: gauge.running == 1)
        ((before,), wire) = follower.held, follower.peers._link._wire
        await until(lambda: time.monotonic() - before.began > 0.5)
        follower.cut()
        await until(lambda: follower.linked and follower.peers._link._wire is not wire)
        await until(lambda: not them.leader.peers._followers._absent and them.leader.in_flight() == 1)
        (counted,) = them.leader.orchestrator.broker.local._taken
        gauge.let()
        await job

    assert counted.began == pytest.approx(before.began, abs=0.25)


async def test_the_slots_of_a_follower_that_is_gone_serve_others() -> None:
    async with company(2) as them:
        gauge = await them.worker("w")
        (follower,) = them.followers
        lost, waits = follower.job(), follower.job()
        await until(lambda: gauge.running == 1 and them.leader.board.waiting("m") == 1)
        job = them.leader.job()
        await until(lambda: them.leader.board.waiting("m") == 2)
        await them.kill(follower)
        await until(lambda: them.leader.board.waiting("m") == 1)
        gauge.let()
        assert (await job).status_code == 200
        assert lost.done()
        assert waits.done()
        assert not them.leader.peers._followers._absent


async def test_a_leader_that_lost_the_api_server_gives_way_and_both_keep_their_jobs() -> None:
    async with company(3) as them:
        gauge = await them.worker("w", capacity=3)
        old = them.leader
        jobs = [replica.job() for replica in them.replicas for _ in range(2)]
        await until(lambda: gauge.running == 3 and old.board.waiting("m") == 3)
        old.leases.away = True
        version = them.lease.seen
        them.lease.call(Write(them.followers[0].peers._election.me, version.changes + 1, version.version))
        await until(lambda: not old.leading and them.settled(), 15)
        await until(lambda: them.leader.in_flight() == 3 and them.leader.board.waiting("m") == 3)
        gauge.let(6)
        await asyncio.wait(jobs)

    assert statuses(jobs) == [200] * 6
    assert not them.too_many


async def test_a_leader_that_leads_again_before_anybody_else_could_is_followed_again() -> None:
    async with company(2) as them:
        gauge = await them.worker("w")
        leader, (follower,) = them.leader, them.followers
        jobs = [leader.job(), follower.job()]
        await until(lambda: gauge.running == 1 and leader.board.waiting("m") == 1)
        follower.leases.away = True
        leader.orchestrator.server.wind_down()
        leader.peers.retire()
        await until(lambda: not leader.leading)
        await until(lambda: leader.leading)
        follower.leases.away = False
        await until(lambda: follower.linked)
        gauge.let(2)
        await asyncio.wait(jobs)

    assert statuses(jobs) == [200, 200]
