"""Slots and waiting jobs when the desk changes that counts them, and a switchboard that must not grant yet."""

import asyncio
import time

import pytest

from stoker_orchestrator.app.desk import LocalDesk, Slot
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.peers.desk import SwitchingDesk
from stoker_orchestrator.domain.admission import Limits
from stoker_orchestrator.domain.events import EndpointGone, ModelSeen
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Granted, Refused, Switchboard
from tests.support.fleet import endpoint, model
from tests.support.waiting import until

M = model(start_timeout=60)


def board(capacity: int = 1, line_limit: int = 10) -> Switchboard:
    made = Switchboard(Registry(), Limits(line_limit))
    made.apply(ModelSeen(M), now=0)
    made.apply(endpoint("a", capacity=capacity), now=0)
    return made


def desk(switchboard: Switchboard) -> LocalDesk:
    return LocalDesk(switchboard, Metrics(), lambda effect: None)


def tickets(effects: list[object]) -> list[int]:
    return [each.ticket for each in effects if isinstance(each, Granted)]


def test_while_all_is_paused_jobs_wait_and_a_full_line_is_a_429() -> None:
    switchboard = board(line_limit=2)
    switchboard.paused = True
    assert switchboard.arrive(1, M, Ask(1), now=0) == []
    assert switchboard.arrive(2, M, Ask(1), now=0) == []

    (refused,) = switchboard.arrive(3, M, Ask(1), now=0)
    assert isinstance(refused, Refused)
    assert refused.refusal.code == "line_full"


def test_after_a_pause_those_are_served_first_who_waited_longest_whoever_asked_first() -> None:
    switchboard = board(capacity=3)
    switchboard.paused = True
    for ticket, waited in ((1, 5.0), (2, 9.0), (3, 7.0), (4, 1.0)):
        switchboard.arrive(ticket, M, Ask(1, "somebody", waited=waited), now=10)

    assert tickets([*switchboard.resume(now=10)]) == [2, 3, 1]
    assert switchboard.waiting("m") == 1


async def test_a_slot_in_use_moves_with_the_desk_and_is_given_back_there() -> None:
    old, new = board(), board()
    first, second = desk(old), desk(new)
    switching = SwitchingDesk(first)
    slot = await switching.take(M, Ask(3))

    switching.switch(second)
    assert (old.registry.in_flight("m"), new.registry.in_flight("m")) == (0, 1)
    slot.desk.give_back(slot)
    assert new.registry.in_flight("m") == 0


async def test_who_waits_asks_at_the_new_desk_in_the_order_of_before() -> None:
    old, new = board(), board()
    switching = SwitchingDesk(desk(old))
    holder = await switching.take(M, Ask(1))
    served: list[int] = []
    jobs: list[asyncio.Task[None]] = []

    async def job(number: int) -> None:
        slot = await switching.take(M, Ask(1))
        served.append(number)
        slot.desk.give_back(slot)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            jobs.append(group.create_task(job(number)))
            await until(lambda: old.waiting("m") == len(jobs), every=0.01)
        old.paused = True
        switching.switch(desk(new))
        await until(lambda: new.waiting("m") == 4)
        assert served == []
        holder.desk.give_back(holder)

    assert served == [0, 1, 2, 3]
    assert old.waiting("m") == 0


async def test_a_cold_start_is_not_counted_against_its_caller_though_the_desk_changes() -> None:
    old, new = board(), board()
    for each in (old, new):
        each.apply(EndpointGone("a"), now=0)
    switching, second = SwitchingDesk(desk(old)), desk(new)
    waiting = asyncio.create_task(switching.take(M, Ask(1, patience=0.2)))
    began = time.monotonic()
    await until(lambda: time.monotonic() - began > 0.5)
    switching.switch(second)
    await until(lambda: new.waiting("m") == 1)
    second.do(new.apply(endpoint("a"), now=time.monotonic()))
    slot = await waiting

    assert 0.5 < slot.cold <= slot.waited


async def test_the_time_in_line_at_the_desk_before_is_counted_against_the_caller() -> None:
    old, new = board(), board()
    switching = SwitchingDesk(desk(old))
    holder = await switching.take(M, Ask(1))
    waiting = asyncio.create_task(switching.take(M, Ask(1, patience=60)))
    await until(lambda: old.waiting("m") == 1)
    old.paused = True
    switching.switch(desk(new))
    await until(lambda: new.waiting("m") == 1)
    line = new.line("m")
    assert line is not None
    (job,) = line
    holder.desk.give_back(holder)

    assert job.ask.waited > 0
    assert job.ask.patience == pytest.approx(60 - job.ask.waited)
    assert (await waiting).cold == 0


async def test_a_slot_that_was_granted_and_not_yet_picked_up_moves_too() -> None:
    old, new = board(), board()
    switching = SwitchingDesk(desk(old))
    holder = await switching.take(M, Ask(1))
    waiting = asyncio.create_task(switching.take(M, Ask(1)))
    await until(lambda: old.waiting("m") == 1)

    holder.desk.give_back(holder)
    old.paused = True
    switching.switch(desk(new))
    slot: Slot = await waiting

    assert (old.registry.in_flight("m"), new.registry.in_flight("m")) == (0, 1)
    slot.desk.give_back(slot)
    assert new.registry.in_flight("m") == 0


async def test_a_job_that_is_cancelled_after_its_slot_moved_gives_it_back_where_it_is() -> None:
    old, new = board(), board()
    switching = SwitchingDesk(desk(old))
    holder = await switching.take(M, Ask(1))
    waiting = asyncio.create_task(switching.take(M, Ask(1)))
    await until(lambda: old.waiting("m") == 1)

    holder.desk.give_back(holder)
    switching.switch(desk(new))
    waiting.cancel()
    await asyncio.wait((waiting,))

    assert (old.registry.in_flight("m"), new.registry.in_flight("m")) == (0, 0)
