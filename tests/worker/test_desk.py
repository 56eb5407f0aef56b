"""The desk between the event loop and the model's thread."""

import asyncio
import itertools
from dataclasses import replace

from stoker_contracts.jobs import TextToImage
from stoker_worker.app.desk import Batch, BatchEnd, Desk, Turn
from stoker_worker.domain.line import Piece
from stoker_worker.domain.row_limits import TRIALS
from stoker_worker.engine.protocol import Outcome, Output, Task

TICKETS = itertools.count()


def turn(images: int = 1) -> Turn:
    task = Task(TextToImage(prompt="p", num_images_per_prompt=images), 0)
    return Turn(next(TICKETS), task, task.rows(), asyncio.get_running_loop().create_future(), 0.0)


def taken(desk: Desk, *turns: Turn) -> Batch:
    """The batch of these jobs, which is out now."""
    for each in turns:
        assert desk.admit(each, "key", 1.0) is None
    batch = desk.take(0)
    assert batch is not None
    assert list(batch.turns) == list(turns)
    return batch


def made(batch: Batch) -> Outcome:
    return Outcome([[] for _ in batch.rows])


async def test_the_time_of_a_batch_that_somebody_left_is_not_learnt_from() -> None:
    desk = Desk(8, max_batch=8)
    for _ in range(TRIALS):
        alone = taken(desk, turn())
        desk.settle(alone, made(alone), 1.0)
    for _ in range(TRIALS):
        pair = taken(desk, turn(), leaving := turn())
        assert not desk.leave(leaving)
        desk.settle(pair, made(pair), 2.0)
    assert desk.limit("key") == 8

    for _ in range(TRIALS):
        pair = taken(desk, turn(), turn())
        desk.settle(pair, made(pair), 2.0)
    assert desk.limit("key") == 1


async def test_a_job_whose_caller_left_while_it_ran_is_over_without_a_result() -> None:
    desk = Desk(8, max_batch=8)
    batch = taken(desk, leaving := turn(), staying := turn())
    desk.leave(leaving)

    end, endings = desk.settle(batch, made(batch), 1.0)

    assert end is BatchEnd.DONE
    assert [(each, result is None) for each, result in endings] == [(leaving, True), (staying, False)]
    assert desk.in_flight == 0


async def test_each_job_is_told_which_of_its_own_pictures_were_blackened() -> None:
    desk = Desk(8, max_batch=8)
    one, other = turn(2), turn(3)
    assert (desk.admit(one, "key", 1.0), desk.admit(other, "key", 1.0)) == (None, None)
    batch = desk.take(0)
    assert batch is not None
    blackened = {batch.pieces.index(Piece(one.ticket, 1)), batch.pieces.index(Piece(other.ticket, 0))}

    _, endings = desk.settle(batch, replace(made(batch), nsfw=frozenset(blackened)), 1.0)

    assert {each.ticket: result.nsfw for each, result in endings if isinstance(result, Output)} == {
        one.ticket: {1}, other.ticket: {0},
    }  # fmt: skip


async def test_who_waits_is_given_back_when_the_engine_is_lost_and_who_runs_is_not() -> None:
    desk = Desk(8, max_batch=1)
    running, waiting = turn(), turn()
    taken(desk, running)
    desk.admit(waiting, "key", 1.0)

    assert desk.abandon() == [waiting]
    assert desk.in_flight == 1


async def test_who_asks_for_a_batch_in_vain_is_told_after_its_time() -> None:
    assert Desk(8, max_batch=8).take(0.01) is None
