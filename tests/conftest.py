"""What holds for all tests."""

import asyncio
from collections.abc import Callable

from hypothesis import HealthCheck, settings

from tests.support.loops import bounded_loop

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Orchestrators and workers run on uvloop, and so do they in tests."""
    return {"uvloop": bounded_loop}
