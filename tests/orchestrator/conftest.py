"""What holds for all tests of the orchestrator."""

import asyncio
from collections.abc import Callable

from tests.support.loops import bounded_loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """They run on the event loop that it runs on."""
    return {"uvloop": bounded_loop}
