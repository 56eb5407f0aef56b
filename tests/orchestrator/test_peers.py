"""Several orchestrators over loopback: one gives out all slots, and nothing is lost when it is another one."""

import asyncio

from stoker_contracts.overview import Overview
from stoker_orchestrator.domain.events import ModelSeen
from stoker_orchestrator.domain.outliers import Pulse
from tests.support.fleet import model
from tests.support.peers import company, statuses
from tests.support.waiting import until


async def test_the_first_leads_and_the_others_ask_it() -> None:
    async with company(3) as them:
        assert them.leader.name == "o-0"
        assert [each.linked for each in them.replicas] == [False, True, True]
        assert them.leader.orchestrator.metrics.registry.get_sample_value("stoker_leading") == 1
        assert them.followers[0].orchestrator.metrics.registry.get_sample_value("stoker_leading") == 0


async def test_a_worker_never_has_more_jobs_than_it_takes_whoever_is_asked() -> None:
    async with company(3) as them:
        gauge = await them.worker("w", capacity=2)
        jobs = [replica.job() for replica in them.replicas for _ in range(6)]
        await until(lambda: gauge.running == 2 and them.leader.board.waiting("m") == 16)
        gauge.let(18)
        await asyncio.wait(jobs)

    assert set(statuses(jobs)) == {200}
    assert gauge.most == 2


async def test_the_line_is_one_line_in_the_order_of_coming() -> None:
    async with company(3) as them:
        gauge = await them.worker("w")
        jobs = []
        for number in range(9):
            jobs.append(them.replicas[number % 3].job(f"job-{number}"))
            await until(lambda: them.leader.board.waiting("m") + gauge.running == len(jobs))
        gauge.let(9)
        await asyncio.wait(jobs)

    assert gauge.order == [f"job-{number}" for number in range(9)]


async def test_a_caller_who_hangs_up_at_a_follower_leaves_the_leaders_line() -> None:
    async with company(2) as them:
        gauge = await them.worker("w")
        first, second = them.followers[0].job(), them.followers[0].job()
        await until(lambda: gauge.running == 1 and them.leader.board.waiting("m") == 1)
        second.cancel()
        await until(lambda: them.leader.board.waiting("m") == 0)
        first.cancel()
        await until(lambda: them.leader.in_flight() == 0)


async def test_a_follower_refuses_as_the_leader_says() -> None:
    async with company(2, line_limit=1) as them:
        await them.worker("w")
        jobs = [them.leader.job(), them.leader.job()]
        await until(lambda: them.leader.board.waiting("m") == 1)
        answer = await them.followers[0].job()
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "line_full")
        assert int(answer.headers["Retry-After"]) >= 1
        assert not any(job.done() for job in jobs)


async def test_a_follower_shows_what_the_leader_counts() -> None:
    async with company(2) as them:
        gauge = await them.worker("w", capacity=2)
        (follower,) = them.followers
        jobs = [them.leader.job(), follower.job(), them.leader.job()]
        await until(lambda: follower.in_flight() == 2 and follower.board.waiting("m") == 1)
        there, here = [(await each.client.get("/capabilities")).json()["capabilities"] for each in (them.leader, follower)]
        assert here == there
        line = (await follower.client.get("/status")).json()["models"][0]["line"]
        assert (line["waiting"], line["callers"]) == (1, 1)
        gauge.let(3)
        await asyncio.wait(jobs)
        await until(lambda: follower.in_flight() == 0 and follower.board.waiting("m") == 0)


async def test_jobs_that_run_through_a_follower_outlive_the_leader() -> None:
    async with company(2) as them:
        gauge = await them.worker("w", capacity=2)
        (follower,) = them.followers
        ours, theirs = follower.job("ours"), them.leader.job("theirs")
        await until(lambda: gauge.running == 2)
        await them.kill(them.leader)
        assert theirs.cancelled() or theirs.done()
        await until(lambda: follower.leading)
        assert follower.in_flight() == 1
        gauge.let()
        assert (await ours).status_code == 200
        await until(lambda: follower.in_flight() == 0)


async def test_jobs_that_wait_outlive_the_leader_and_keep_their_order() -> None:
    async with company(3) as them:
        gauge = await them.worker("w")
        one, two = them.followers
        jobs = []
        for number, replica in enumerate((one, two, two, one, two, one)):
            jobs.append(replica.job(f"job-{number}"))
            await until(lambda: them.leader.board.waiting("m") + gauge.running == len(jobs))
        await them.kill(them.leader)
        await until(them.settled)
        await until(lambda: them.leader.board.waiting("m") == 5)
        assert gauge.running == 1
        gauge.let(6)
        await asyncio.wait(jobs)

    assert statuses(jobs) == [200] * 6
    assert gauge.order == [f"job-{number}" for number in range(6)]
    assert gauge.most == 1


async def test_a_leader_that_stops_hands_over_and_finishes_what_it_has() -> None:
    async with company(3) as them:
        gauge = await them.worker("w", capacity=2)
        leader = them.leader
        jobs = [each.job(f"{each.name}-{number}") for number in range(2) for each in them.replicas]
        await until(lambda: gauge.running == 2 and leader.board.waiting("m") == 4)
        stopping = asyncio.create_task(them.stop(leader))
        await until(lambda: sum(each.leading for each in them.replicas if each is not leader) == 1)
        refused = await leader.job()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        await until(lambda: them.leader.in_flight() == 2 and them.leader.board.waiting("m") == 4)
        gauge.let(6)
        await asyncio.wait((stopping, *jobs))

    assert statuses(jobs) == [200] * 6
    assert gauge.most == 2


async def test_the_last_one_leads_to_its_end_and_leaves_the_lease_to_the_next() -> None:
    async with company(1) as them:
        gauge = await them.worker("w")
        jobs = [them.leader.job(), them.leader.job()]
        await until(lambda: gauge.running == 1)
        stopping = asyncio.create_task(them.stop(them.leader))
        gauge.let(2)
        await asyncio.wait((stopping, *jobs))
        assert statuses(jobs) == [200, 200]
        assert them.lease.seen.holder is None
        await them.start("o-1")
        assert them.leader.name == "o-1"


async def test_without_a_leader_a_follower_holds_jobs_within_the_bounds_of_the_line() -> None:
    async with company(2, line_limit=2) as them:
        gauge = await them.worker("w")
        (follower,) = them.followers
        follower.leases.away = True
        await them.kill(them.leader)
        await until(lambda: not follower.linked)
        jobs = [follower.job(), follower.job()]
        await until(lambda: follower.board.waiting("m") == 2)
        refused = await follower.job()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "line_full")
        assert gauge.running == 0
        follower.leases.away = False
        await until(lambda: gauge.running == 1)
        gauge.let(2)
        await asyncio.wait(jobs)
        assert statuses(jobs) == [200, 200]


async def test_a_model_that_only_the_follower_has_seen_is_waited_for() -> None:
    async with company(2) as them:
        (follower,) = them.followers
        gauge = await them.worker("w", of="late", open_=True)
        follower.fleet.tell(ModelSeen(model("late")))
        job = asyncio.create_task(follower.client.post("/models/late/text-to-image", json={"prompt": "p"}))
        await until(lambda: any(each._asking for each in them.leader.peers._followers._linked.values()))
        assert not gauge.order
        them.leader.fleet.tell(ModelSeen(model("late")))
        assert (await job).status_code == 200


async def test_a_worker_that_is_given_up_ends_the_try_of_a_followers_job() -> None:
    async with company(2) as them:
        gauge, second = await them.worker("w"), await them.worker("v", open_=True)
        (follower,) = them.followers
        job = follower.job()
        await until(lambda: gauge.running == 1)
        board = them.leader.board
        for _ in range(2):
            them.leader.orchestrator.broker.local.do(board.probed("w", Pulse(alive=False), 0))
        assert (await job).status_code == 200
        assert len(second.order) == 1
        await until(lambda: [each.ejected for each in follower.board.registry.endpoints] == [True, False])


async def test_a_new_leader_knows_what_the_old_one_had_ejected_and_learnt() -> None:
    async with company(2) as them:
        await them.worker("w", open_=True)
        await them.worker("v", open_=True)
        (follower,) = them.followers
        for _ in range(4):
            assert (await them.leader.job()).status_code == 200
        broker = them.leader.orchestrator.broker
        for _ in range(2):
            broker.switchboard.outliers.failed(broker.registry.endpoints[0])
        broker.local.changed.set()
        rate = broker.registry.rates.per_unit("m")
        await until(lambda: follower.board.registry.rates.per_unit("m") == rate and follower.board.registry.endpoints[0].ejected)
        await them.kill(them.leader)
        await until(lambda: follower.leading)
        assert follower.board.registry.rates.per_unit("m") == rate
        await until(lambda: not follower.board.registry.endpoints[0].ejected)  # it asks the worker itself now


async def test_a_worker_that_has_recovered_has_done_so_for_the_next_leader_as_well() -> None:
    async with company(2) as them:
        await them.worker("w")
        (follower,) = them.followers
        broker = them.leader.orchestrator.broker
        broker.switchboard.outliers.failed(broker.registry.endpoints[0])
        broker.local.do(broker.switchboard.probed("w", Pulse(alive=True), 0))
        await until(lambda: follower.board.registry.endpoints[0].recovered)
        await them.kill(them.leader)
        await until(lambda: follower.leading)
        assert follower.board.registry.endpoints[0].recovered


async def test_whichever_orchestrator_is_asked_its_status_is_the_same_but_for_who_leads() -> None:
    async with company(2) as them:
        gauge = await them.worker("w")
        jobs = [replica.job() for replica in them.replicas for _ in range(2)]
        await until(lambda: gauge.running == 1 and all(replica.board.waiting("m") == 3 for replica in them.replicas))
        told = [Overview.model_validate_json((await each.client.get("/status")).content) for each in them.replicas]
        gauge.let(4)
        await asyncio.wait(jobs)

    assert [each.orchestrator.leading for each in told] == [True, False]
    assert [(each.models[0].line.waiting, each.models[0].workers[0].in_flight) for each in told] == [(3, 1), (3, 1)]
