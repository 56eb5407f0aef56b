import asyncio

import pytest

from stoker_orchestrator.app.interruption import Interruption
from stoker_orchestrator.app.timers import CoarseTimers
from tests.support.waiting import until


async def test_a_timer_acts_once_and_not_before_its_time() -> None:
    timers, acted = CoarseTimers(), list[float]()
    loop = asyncio.get_running_loop()
    began = loop.time()
    timers.start("a", 0.03, lambda: acted.append(loop.time() - began))
    await until(lambda: acted)
    timers.start("b", 0.0, lambda: acted.append(0.0))
    await until(lambda: len(acted) == 2)

    assert acted[0] >= 0.03
    assert not timers._set


async def test_a_cancelled_timer_never_acts() -> None:
    timers, acted = CoarseTimers(), list[str]()
    timers.start("a", 0.0, lambda: acted.append("a"))
    timers.start("b", 0.0, lambda: acted.append("b"))
    timers.cancel("a")
    timers.cancel("unknown")
    await until(lambda: acted)

    assert acted == ["b"]


async def test_a_timer_that_fails_is_logged_and_takes_none_of_the_others_with_it(caplog: pytest.LogCaptureFixture) -> None:
    timers, acted = CoarseTimers(), list[str]()

    def fail() -> None:
        message = "its own"
        raise ValueError(message)

    timers.start("a", 0.0, fail)
    timers.start("b", 0.0, lambda: acted.append("b"))
    timers.start("c", 0.05, lambda: acted.append("c"))
    await until(lambda: len(acted) == 2)

    assert acted == ["b", "c"]
    assert "ValueError: its own" in caplog.text


async def test_a_timer_that_another_of_the_same_moment_cancels_or_sets_anew_does_not_act_then() -> None:
    timers, acted = CoarseTimers(), list[str]()

    def change() -> None:
        timers.cancel("b")
        timers.start("c", 0.05, lambda: acted.append("later"))
        acted.append("a")

    timers.start("a", 0.0, change)
    timers.start("b", 0.0, lambda: acted.append("b"))
    timers.start("c", 0.0, lambda: acted.append("c"))
    await until(lambda: len(acted) == 2)

    assert acted == ["a", "later"]


async def test_an_interrupted_block_ends_with_the_first_error_given() -> None:
    async def block() -> None:
        loop = asyncio.get_running_loop()
        with Interruption() as interruption:
            loop.call_soon(interruption.stop, ValueError("first"))
            loop.call_soon(interruption.stop, ValueError("second"))
            await asyncio.Event().wait()

    with pytest.raises(ValueError, match="first"):
        await block()


async def test_a_task_that_is_cancelled_as_well_stays_cancelled() -> None:
    async def block() -> None:
        with Interruption() as interruption:
            asyncio.get_running_loop().call_soon(interruption.stop, ValueError("mine"))
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_is_not_interrupted_is_none_the_wiser() -> None:
    with Interruption():
        await asyncio.sleep(0)
