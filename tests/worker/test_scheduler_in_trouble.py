"""Batches that fail, engines that break: who pays for it."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest

from stoker_contracts.worker import ExitReason
from stoker_worker.app import scheduler
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.scheduler import EngineLostError, Rules, Scheduler
from stoker_worker.domain.line import Refusal
from stoker_worker.engine.protocol import (
    BrokenResultError,
    CancelledError,
    FatalEngineError,
    Footprint,
    Outcome,
    OutOfMemoryError,
    RefusedError,
    Row,
    StageHook,
    Steps,
)
from tests.support.held_worker import Gate, refusal_of, worker
from tests.support.waiting import until

BROKEN = RuntimeError("/a/secret/path")


async def test_a_bad_row_never_fails_its_neighbours() -> None:
    async with worker(Gate(refused_prompt="bad")) as made:
        await made.send_behind(1)
        made.send(2, prompt="bad")
        made.send(3)
        await made.in_flight(4)

        assert await made.ends() == [[0], [1], RefusedError, [3]]

    assert made.engine.batches == [[0], [1, 2, 3], [1], [2], [3]]
    assert (made.counted("isolated"), made.counted("failed"), made.counted("done")) == (1, 1, 3)


async def test_a_row_that_comes_out_broken_fails_its_job_alone_and_what_is_left_of_that_is_not_made() -> None:
    async with worker(Gate(broken_seed=10), max_batch=3) as made:
        await made.send_behind(1)
        made.send(10, images=6)
        made.send(20)
        await made.in_flight(4)

        assert await made.ends() == [[0], [1], BrokenResultError, [20]]

    assert made.engine.batches == [[0], [1, 10, 11], [20]]


async def test_who_has_left_a_batch_that_fails_is_not_run_again() -> None:
    engine = Gate()
    async with worker(engine) as made:
        await made.send_together(1, 2, 3)
        engine.fail = [RuntimeError("all of it")]
        made.calls[1].cancel()
        await until(lambda: engine.gone == {0})

        assert await made.ends() == [[0], asyncio.CancelledError, [2], [3]]

    assert engine.batches == [[0], [1, 2, 3], [2], [3]]


async def test_an_error_that_no_engine_should_raise_isolates_as_well() -> None:
    engine = Gate()
    async with worker(engine) as made:
        await made.send_behind(1, 2)
        engine.open = True
        engine.fail = [RuntimeError("second"), RuntimeError("first")]

        assert await made.ends() == [RuntimeError, [1], [2]]

    assert made.engine.batches == [[0], [1, 2], [1], [2]]


async def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_the_limit_is_kept() -> None:
    async with worker(Gate(row_bytes=10, weights_bytes=100, card_bytes=125)) as made:
        await made.send_behind(*range(1, 9))
        ends = await made.ends()
        first = len(made.engine.batches)
        made.engine.open = False
        made.send(50)
        await until(lambda: made.engine.batches[first:] == [[50]])
        for seed in (51, 52, 53):
            made.send(seed)
        await made.in_flight(4)
        ends += await made.ends()

    assert all(isinstance(end, list) for end in ends)
    assert [len(batch) for batch in made.engine.batches] == [1, 8, 4, 2, 2, 2, 2, 1, 2, 1]
    assert made.counted("oom_halved") == 2
    assert made.value("rows_limit") == 2


async def test_measured_memory_keeps_batches_within_the_budget_before_any_fails() -> None:
    async with worker(Gate(row_bytes=10, weights_bytes=100, card_bytes=150, budget_bytes=150)) as made:
        await made.send_behind(*range(1, 9))
        await made.ends()

    assert [len(batch) for batch in made.engine.batches] == [1, 4, 4]
    assert made.counted("oom_halved") == 0


async def test_a_job_that_does_not_fit_by_itself_fails_with_that() -> None:
    async with worker(Gate(row_bytes=10, card_bytes=5)) as made:
        await made.send_behind(1, 2, side=128)

        assert await made.ends() == [OutOfMemoryError] * 3

    assert made.engine.batches == [[0], [1, 2], [1], [2]]
    assert (made.counted("oom_halved"), made.counted("failed")) == (1, 3)


async def test_when_the_engine_is_lost_who_waits_is_sent_elsewhere_and_whose_job_ran_learns_that() -> None:
    engine = Gate()
    async with worker(engine, max_batch=1) as made:
        await made.send_behind(1, 2)
        engine.fail = [FatalEngineError(ExitReason.ENGINE_FAILED, "the card is gone")]
        engine.open = True
        await until(lambda: made.failures)
        await until(lambda: all(call.done() for call in made.calls))
        made.send(3)
        await until(made.calls[3].done)

        assert isinstance(made.calls[0].exception(), EngineLostError)
        assert [refusal_of(call) for call in made.calls[1:]] == [Refusal.FAILED] * 3
        assert [made.scheduler.health().value, made.scheduler.readiness().state] == ["ERROR", "failed"]

    assert engine.batches == [[0]]


@pytest.mark.parametrize("breaking", ["park", "unpark"])
async def test_an_engine_that_breaks_between_batches_is_lost_in_words(breaking: str) -> None:
    seen_ready = threading.Event()

    class Broken(Gate):
        def park(self) -> bool:
            seen_ready.wait()
            if breaking == "park":
                raise BROKEN
            return True

        def unpark(self) -> None:
            raise BROKEN

    async with worker(Broken(), park_after=0.01) as made:
        seen_ready.set()
        await until(lambda: made.failures or made.scheduler.readiness().state == "parked")
        if breaking == "unpark":
            made.send(1)
        await until(lambda: made.failures)

    assert [(each.reason, str(each)) for each in made.failures] == [(ExitReason.ENGINE_FAILED, "the engine broke: RuntimeError")]


class Panic(BaseException):
    """What machine code below Python raises when it breaks."""


async def test_a_load_that_panics_is_a_load_that_failed() -> None:
    class Panics(Gate):
        def load(self, stage: StageHook) -> Footprint:
            raise Panic

    failures: list[FatalEngineError] = []
    scheduler = Scheduler(Panics(), 1, Metrics(), failures.append, Rules(1, 60, 0))
    scheduler.start()
    await until(lambda: failures)

    assert failures[0].reason is ExitReason.LOAD_FAILED
    assert scheduler.readiness().state == "failed"


async def test_a_batch_that_panics_ends_the_worker_at_once() -> None:
    class Panics(Gate):
        def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
            raise Panic

    async with worker(Panics()) as made:
        made.send(1)
        await until(made.calls[0].done)

        assert await made.ends() == [EngineLostError]

    assert [(each.reason, str(each)) for each in made.failures] == [(ExitReason.ENGINE_FAILED, "the engine broke: Panic")]


async def test_a_park_that_hangs_is_noticed_once_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_NO_BATCH", replace(scheduler._NO_BATCH, least=0.3))
    parking, end = threading.Event(), threading.Event()

    class Stuck(Gate):
        def park(self) -> bool:
            parking.set()
            end.wait()
            return True

    async with worker(Stuck(), step_timeout=0.2, park_after=0.01) as made:
        await until(parking.is_set)
        made.send(1)
        await until(lambda: made.failures)
        await until(made.calls[0].done)
        end.set()

    assert "no progress for" in str(made.failures[0])
    assert refusal_of(made.calls[0]) is Refusal.FAILED


async def test_a_model_that_hangs_is_noticed_and_the_worker_gives_up_once() -> None:
    engine = Gate(fault="hang")
    async with worker(engine, step_timeout=0.2) as made:
        made.send(1)
        await until(lambda: made.failures)
        made.send(2)
        await until(made.calls[1].done)
        made.scheduler.lost(FatalEngineError(ExitReason.ENGINE_FAILED, "the hung model breaks as well"))

    (failure,) = made.failures
    assert failure.reason is ExitReason.ENGINE_FAILED
    assert "no progress for" in str(failure)
    assert refusal_of(made.calls[1]) is Refusal.FAILED


async def test_an_engine_that_answers_for_too_few_rows_fails_nobody_who_can_run_alone() -> None:
    class Forgetful(Gate):
        def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
            made = super().run(rows, steps)
            return Outcome(made.rows[:1])

    async with worker(Forgetful()) as made:
        await made.send_behind(1, 2)

        assert await made.ends() == [[0], [1], [2]]


async def test_an_engine_that_says_cancelled_of_jobs_with_callers_fails_them_and_stays() -> None:
    engine = Gate()
    async with worker(engine) as made:
        await made.send_behind(2)
        engine.fail = [CancelledError("nobody is there")]

        assert await made.ends() == [CancelledError, [2]]


async def test_what_a_failed_run_held_is_free_while_its_caller_still_reads_the_error() -> None:
    class Tensor:
        pass

    held: list[weakref.ref[Tensor]] = []

    class Full(Gate):
        def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
            tensor = Tensor()
            held.append(weakref.ref(tensor))
            raise BROKEN

    async with worker(Full()) as made:
        made.send(1)
        await until(made.calls[0].done)

        assert made.calls[0].exception() is BROKEN
        assert [each() for each in held] == [None]


async def test_a_caller_that_leaves_as_its_job_fails_leaves_no_error_behind() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with worker() as made:
        await made.send_behind()
        (turn,) = made.scheduler._turns
        turn.done.set_exception(RuntimeError("the job failed"))
        made.calls[0].cancel()
        await until(made.calls[0].done)
        await made.in_flight(0)
        del turn
        made.calls.clear()
        gc.collect()

    assert complaints == []
