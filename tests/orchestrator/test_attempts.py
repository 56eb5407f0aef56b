"""Second tries within their bounds, callers' deadlines, and workers that stop answering, over real HTTP on loopback."""

import asyncio

import pytest
from aiohttp import web

from stoker_orchestrator.adapters import upstream
from stoker_orchestrator.app import broker
from stoker_orchestrator.domain import outliers
from stoker_orchestrator.domain.events import EndpointGone
from tests.support.fleet import endpoint
from tests.support.orchestrator import JOB, code, world
from tests.support.ports import free_port
from tests.support.waiting import until
from tests.support.workers import die, draining, echo


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are asked for a sign of life after hundredths of a second."""
    for name, seconds in {"PROBE_SECONDS": 0.05, "_BACK_OFF_SECONDS": (0.05,)}.items():
        monkeypatch.setattr(outliers, name, seconds)
    monkeypatch.setattr(broker, "TICK_SECONDS", 0.01)


async def never(_: web.Request) -> web.StreamResponse:
    """A worker that hangs: it takes the job and says nothing more."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_job_that_ends_two_workers_is_refused_with_its_own_error_and_meets_no_third() -> None:
    async with world() as here:
        ended = [await here.worker(identity, die) for identity in "ab"]
        spared = await here.worker("c")
        answer = await here.post(json=JOB)

    assert code(answer) == (502, "job_ends_workers")
    assert [len(worker.requests) for worker in ended] == [1, 1]
    assert spared.requests == []


async def test_a_job_that_ended_two_workers_is_refused_when_it_is_sent_again_and_others_are_served() -> None:
    async with world() as here:
        for identity in "ab":
            await here.worker(identity, die)
        await here.post(json=JOB)
        for identity in "ab":
            here.fleet.tell(EndpointGone(identity))
        spared = await here.worker("c")
        again = await here.post(json=JOB)
        other = await here.post(json=JOB | {"seed": 8})

    assert code(again) == (422, "job_ends_workers")
    assert again.headers["retry-after"]
    assert other.status_code == 200
    assert len(spared.requests) == 1


class DieWhenTold:
    """A worker that ends when it is told to, job by job."""

    def __init__(self) -> None:
        self._told: list[asyncio.Event] = []

    @property
    def jobs(self) -> int:
        return len(self._told)

    def end(self, job: int) -> None:
        self._told[job].set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        told = asyncio.Event()
        self._told.append(told)
        await told.wait()
        return await die(request)


async def test_a_job_on_a_worker_already_while_another_like_it_ended_two_frees_its_place_and_meets_no_third(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "_STALE_SECONDS", -1)  # a kept connection that ends is a lost worker at once
    ends = DieWhenTold()
    async with world() as here:
        for identity, capacity in (("a", 1), ("b", 2)):
            worker = await here.worker(identity, capacity=capacity)
            assert (await here.post(json=JOB)).status_code == 200, "a connection is kept now, for the short way"
            worker.behaviour = ends
            if identity == "a":
                first = asyncio.create_task(here.post(json=JOB))
                await until(lambda: ends.jobs == 1)
        same = asyncio.create_task(here.post(json=JOB))
        await until(lambda: ends.jobs == 2)
        ends.end(0)
        await until(lambda: ends.jobs == 3)
        ends.end(2)
        ended = await first
        spared = await here.worker("c")
        ends.end(1)
        refused = await same

        assert (code(ended), code(refused)) == ((502, "job_ends_workers"), (422, "job_ends_workers"))
        assert spared.requests == []
        assert not here.orchestrator.broker.registry.busy


async def test_workers_that_cannot_be_reached_are_not_the_jobs_fault() -> None:
    async with world() as here:
        for identity in "ab":
            here.fleet.tell(endpoint(identity, address=f"127.0.0.1:{free_port()}"))
        answer = await here.post(json=JOB)
        for identity in "ab":
            here.fleet.tell(EndpointGone(identity))
        await here.worker("c")
        again = await here.post(json=JOB)

    assert code(answer) == (502, "worker_lost")
    assert again.status_code == 200


async def test_a_job_may_meet_any_number_of_workers_that_are_leaving() -> None:
    async with world() as here:
        for identity in "abc":
            await here.worker(identity, draining)
        await here.worker("d")
        answer = await here.post(json=JOB)

    assert (answer.status_code, answer.headers["stoker-worker"]) == (200, "d")


async def test_second_tries_are_bounded_by_what_is_under_way() -> None:
    together = asyncio.Barrier(6)

    async def die_together(request: web.Request) -> web.StreamResponse:
        await together.wait()
        return await die(request)

    async with world() as here:
        await here.worker("doomed", die_together, capacity=6)
        jobs = [asyncio.create_task(here.post(json=JOB | {"seed": seed})) for seed in range(6)]
        await until(lambda: together.n_waiting == 5 or here.orchestrator.jobs.in_flight == 6)
        await here.worker("good", capacity=6)
        codes = sorted(code(answer) if answer.status_code != 200 else (200, "") for answer in await asyncio.gather(*jobs))

    assert codes == [(200, "")] * 4 + [(502, "retry_budget")] * 2


@pytest.mark.usefixtures("quick_probes")
async def test_a_job_on_a_worker_that_does_not_answer_probes_goes_to_another_one() -> None:
    async with world() as here:
        hung = await here.worker("hung", never, deaf=True)
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: hung.requests)
        await here.worker("good")
        answer = await job

    assert (answer.status_code, answer.headers["stoker-worker"]) == (200, "good")
    assert hung.cancelled == 1


@pytest.mark.usefixtures("quick_probes")
async def test_a_worker_that_answers_probes_again_gets_jobs_again() -> None:
    async with world() as here:
        worker = await here.worker("w", never, deaf=True)
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: not here.orchestrator.broker.registry.is_warm("m"))
        assert here.metric("stoker_decisions_total", kind="eject", model="m", reason="silent") == 1
        other = await here.worker("other")
        assert (await job).status_code == 200
        here.fleet.tell(EndpointGone("other"))
        worker.deaf, worker.behaviour = False, echo
        answer = await here.post(json=JOB | {"seed": 2})

    assert answer.headers["stoker-worker"] == "w"
    assert len(other.requests) == 1


@pytest.mark.usefixtures("quick_probes")
async def test_a_job_whose_connection_the_only_worker_lost_meets_it_again_once_it_answers() -> None:
    async with world() as here:
        worker = await here.worker("w", die)
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: worker.requests)
        worker.behaviour = echo
        answer = await job

        assert here.metric("stoker_decisions_total", kind="readmit", model="m", reason="answered") == 0
    assert (answer.status_code, len(worker.requests)) == (200, 2)


@pytest.mark.usefixtures("quick_probes")
async def test_a_worker_whose_connections_are_cut_is_not_two_workers_that_ended() -> None:
    async with world() as here:
        worker = await here.worker("w", die)
        twice_cut = await here.post(json=JOB)
        worker.behaviour = echo
        again = await here.post(json=JOB)

    assert code(twice_cut) == (502, "worker_lost")
    assert again.status_code == 200, "it is not in quarantine"


@pytest.mark.usefixtures("quick_probes")
async def test_a_long_job_on_a_worker_that_answers_probes_is_left_alone() -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return await echo(request)

    async with world() as here:
        worker = await here.worker("w", slow)
        job = asyncio.create_task(here.post(json=JOB))
        await until(lambda: worker.probes > 5)
        release.set()
        answer = await job

    assert answer.status_code == 200
    assert len(worker.requests) == 1


async def test_a_job_that_is_not_answered_in_its_time_is_a_504_and_its_worker_is_free_again() -> None:
    async with world() as here:
        worker = await here.worker("w", never)
        answer = await here.post(json=JOB, headers={"Stoker-Timeout": "0.1"})
        await until(lambda: worker.cancelled)
        worker.behaviour = echo
        after = await here.post(json=JOB)

    assert code(answer) == (504, "deadline_exceeded")
    assert after.status_code == 200


async def test_a_cold_start_does_not_count_against_the_callers_time() -> None:
    async with world() as here:
        job = asyncio.create_task(here.post(json=JOB, headers={"Stoker-Timeout": "0.2"}))
        await until(lambda: here.waiting == 1)
        await until(lambda: here.aged(0.3))
        await here.worker("w")
        answer = await job

    assert answer.status_code == 200
    assert answer.headers["stoker-cold-start"] == "true"


async def test_a_job_that_waits_longer_than_its_caller_may_is_a_503() -> None:
    async with world() as here:
        await here.worker("w", never)
        running = asyncio.create_task(here.post(json=JOB))
        await until(lambda: here.orchestrator.broker.registry.in_flight("m") == 1)
        answer = await here.post(json=JOB | {"seed": 2}, headers={"Stoker-Timeout": "0.1"})
        running.cancel()

    assert code(answer) == (503, "start_timeout")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "1e9"])
async def test_a_timeout_that_is_no_sane_number_of_seconds_is_a_400(given: str) -> None:
    async with world() as here:
        await here.worker("w")
        answer = await here.post(json=JOB, headers={"Stoker-Timeout": given})

    assert answer.status_code == 400
    assert "Stoker-Timeout" in answer.json()["error"]["message"]
