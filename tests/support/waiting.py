"""Waiting for a condition, not for a time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], object], seconds: float = 10, every: float = 0.001) -> None:
    """Return once `condition` holds; fail when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(every)


def eventually(look: Callable[[], T], seconds: float = 30, every: float = 0.1) -> T:
    """The first truthy value of `look`; an AssertionError of its own is a no. Fails with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            seen = look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            if seen:
                return seen
            assert time.monotonic() < deadline, f"not so within {seconds} s; last seen: {seen!r}"
        time.sleep(every)
