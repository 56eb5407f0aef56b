"""Many requests to the API server, several at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 10
"""Enough that the 500 entries of a models config take seconds, and few enough that nobody else waits for them."""


async def side_by_side(do: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    """Do it for each. The first failure ends what is under way, and is raised."""
    places = asyncio.Semaphore(AT_ONCE)

    async def in_its_place(item: T) -> None:
        async with places:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(in_its_place(item))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
