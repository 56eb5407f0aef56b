"""The event loop that orchestrators and workers run on, one for each test."""

import asyncio

import uvloop

LONGEST_SECONDS = 100.0
"""For one test."""


def bounded_loop() -> asyncio.AbstractEventLoop:
    """uvloop, which the signal of pytest-timeout does not interrupt; so a test that hangs is cancelled from within.

    Python 3.11's own loop, beside being another one, forgets a connection that comes as its server closes: the socket stays open.
    """
    loop = uvloop.new_event_loop()
    loop.call_later(LONGEST_SECONDS, _give_up, loop)
    return loop


def _give_up(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
