"""Jobs through the line and the model's thread, over the stub engine."""

import asyncio
import time

from stoker_contracts.jobs import TextToImage
from stoker_worker.app.scheduler import NotTakenError
from stoker_worker.domain.line import Refusal
from stoker_worker.engine.protocol import (
    Task,
)
from tests.support.held_worker import Gate, refusal_of, worker
from tests.support.waiting import until


async def test_an_idle_model_begins_at_once_and_takes_all_that_came_meanwhile_together() -> None:
    async with worker() as made:
        await made.send_behind(1, 2, 3)

        assert await made.ends() == [[0], [1], [2], [3]]

    assert made.engine.batches == [[0], [1, 2, 3]]
    assert made.value("batch_rows_sum") == 4


async def test_a_job_of_many_rows_gets_them_all_in_order_and_as_if_it_had_been_alone() -> None:
    async with worker(max_batch=3) as made:
        await made.send_behind(10, images=5)
        made.send(20, images=2)
        await made.in_flight(3)

        ends = await made.ends()
        together = made.calls[1].result().pictures
        alone = await made.scheduler.run(Task(TextToImage(prompt="p", width=64, height=64, num_inference_steps=2), 12))

    assert ends == [[0], [10, 11, 12, 13, 14], [20, 21]]
    assert made.engine.batches == [[0], [10, 11, 12], [13, 14, 20], [21], [12]]
    assert (together[2] == alone.pictures[0]).all()


async def test_jobs_of_other_sizes_run_in_batches_of_their_own_and_the_cheap_ones_first() -> None:
    async with worker() as made:
        await made.send_behind(1, 2, side=128)
        made.send(3)
        await made.in_flight(4)

        await made.ends()

    assert made.engine.batches == [[0], [3], [1, 2]]


async def test_who_leaves_a_running_batch_is_left_out_and_the_others_are_served() -> None:
    async with worker() as made:
        await made.send_together(1, 2, 3)

        made.calls[2].cancel()
        await until(lambda: made.engine.gone == {1})

        assert await made.ends() == [[0], [1], asyncio.CancelledError, [3]]
        assert made.scheduler.readiness().in_flight == 0


async def test_a_batch_that_nobody_waits_for_ends_within_a_step() -> None:
    async with worker() as made:
        await made.send_behind()
        made.calls[0].cancel()

        await made.in_flight(0)

    assert made.counted("cancelled") == 1


async def test_a_job_without_its_caller_makes_no_more_rows() -> None:
    async with worker(max_batch=2) as made:
        await made.send_behind(10, images=4)
        made.send(20)
        await made.in_flight(3)
        made.calls[1].cancel()
        await made.in_flight(2)

        assert await made.ends() == [[0], asyncio.CancelledError, [20]]

    assert made.engine.batches == [[0], [20]]


async def test_a_job_whose_time_is_over_is_dropped_while_the_model_is_busy_and_its_place_is_free() -> None:
    async with worker(capacity=2, step_timeout=0.4) as made:
        await made.send_behind()
        made.send(1, deadline=time.monotonic() + 0.05)
        await until(made.calls[1].done)
        made.send(2)
        await made.in_flight(2)
        made.send(3, deadline=time.monotonic() - 1)
        await until(made.calls[3].done)

        assert await made.ends() == [[0], NotTakenError, [2], NotTakenError]

    assert [refusal_of(made.calls[number]) for number in (1, 3)] == [Refusal.LATE, Refusal.LATE]
    assert made.value("late_jobs_total") == 1


async def test_a_job_whose_time_is_over_when_the_model_is_free_is_not_begun() -> None:
    async with worker() as made:
        await made.send_behind()
        deadline = time.monotonic() + 0.05
        made.send(1, deadline=deadline)
        await made.in_flight(2)
        await until(lambda: time.monotonic() > deadline)

        assert await made.ends() == [[0], NotTakenError]

    assert made.engine.batches == [[0]]


async def test_the_place_of_a_job_whose_time_is_over_is_free_for_who_comes_next() -> None:
    async with worker(capacity=2) as made:
        await made.send_behind()
        deadline = time.monotonic() + 0.05
        made.send(1, deadline=deadline)
        await made.in_flight(2)
        await until(lambda: time.monotonic() > deadline)
        made.send(2)
        await until(made.calls[1].done)

        assert await made.ends() == [[0], NotTakenError, [2]]


async def test_an_idle_model_is_parked_once_stays_ready_and_is_back_for_the_next_job() -> None:
    async with worker(Gate(parks=True), park_after=0.02) as made:
        await until(lambda: made.scheduler.readiness().state == "parked")
        parked = made.value("parked")
        ready = made.scheduler.readiness().ready
        made.send(1)
        ends = await made.ends()
        state = made.scheduler.readiness().state

    assert (parked, ready, ends, made.engine.unparked, state) == (1.0, True, [[1]], 1, "ready")


async def test_a_job_whose_caller_leaves_while_the_weights_come_back_is_not_run() -> None:
    class Slow(Gate):
        def unpark(self) -> None:
            super().unpark()
            while not self.open:
                time.sleep(0.001)

    engine = Slow(parks=True)
    async with worker(engine, park_after=0.02) as made:
        await until(lambda: made.scheduler.readiness().state == "parked")
        engine.open = False
        made.send(1)
        await until(lambda: engine.unparked)
        made.calls[0].cancel()
        await until(made.calls[0].done)
        engine.open = True
        await made.in_flight(0)

    assert engine.batches == []


async def test_an_engine_that_has_nothing_to_park_is_not_said_to_be_parked() -> None:
    asked = []

    class Unparkable(Gate):
        def park(self) -> bool:
            asked.append(1)
            return False

    async with worker(Unparkable(), park_after=0.01) as made:
        await until(lambda: asked)
        made.send(1)

        assert await made.ends() == [[1]]

    assert made.engine.unparked == 0


async def test_weights_that_cannot_be_parked_yet_are_parked_later() -> None:
    refusals = [1, 2, 3]

    class Busy(Gate):
        def park(self) -> bool:
            return not refusals or not refusals.pop()

    async with worker(Busy(), park_after=0.01) as made:
        await until(lambda: made.scheduler.readiness().state == "parked")

    assert not refusals


async def test_steps_are_counted_for_good() -> None:
    async with worker() as made:
        made.send(1)
        await made.ends()
        made.send(2)
        await made.ends()

        assert made.scheduler.readiness().steps == 4
        await until(lambda: made.value("steps_total") == 4)
