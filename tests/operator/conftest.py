"""What holds for all tests of the operator."""

import asyncio
from collections.abc import Callable


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The operator runs on Python's own event loop."""
    return {"asyncio": asyncio.new_event_loop}
