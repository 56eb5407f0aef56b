"""More than the orchestrator was made for: good callers are served, the others are told or cut off, and nothing grows."""

import asyncio
import os
import re
import threading
from collections.abc import Iterator

import httpx2
import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.crowd import overload, send_large, slow_connections
from e2e.scenarios.processes import inside, process_of
from e2e.scenarios.resources import all_ready, model_deployment, offers, send
from e2e.scenarios.traffic import traffic
from tests.support.waiting import eventually

OVERLOAD_SECONDS = float(os.environ.get("STOKER_OVERLOAD_SECONDS", "15"))
MOST = 5
"""Jobs of 0.2 s that the one worker can do in a second."""
SLOW_CONNECTIONS = 2000
SLOW_SECONDS = 60.0
LARGE_BYTES = 300 * 10**6
GROWTH_KIB = 64 * 1024


@pytest.fixture(scope="module", autouse=True)
def crowded(stub: Release) -> Iterator[str]:
    """A warm model with one worker."""
    stub.apply(model_deployment("crowded", warm=True, script={"step_seconds": 0.1}))
    with httpx2.Client(base_url=stub.url) as client:
        eventually(lambda: all_ready(stub, "crowded", 1) and offers(client).get("org/crowded"), seconds=60)
    yield "org/crowded"
    stub.delete(RESOURCES, "crowded", "--wait=false")


def largest(release: Release) -> dict[str, int]:
    """The most memory that each orchestrator's process ever had, in KiB."""
    found = {}
    for pod in release.list("pods", "app.kubernetes.io/component=orchestrator"):
        name = pod["metadata"]["name"]
        status = inside(release, 'cat "/proc/$1/status"', process_of(release, name))
        found[name] = int(re.findall(r"VmHWM:\s+(\d+)", status)[0])
    return found


def waited(release: Release, model_id: str) -> int:
    """Milliseconds that a job waits, sent by whichever orchestrator a new connection leads to.

    One kept connection may lead to an orchestrator that asks another one for slots, and the way there and back rounds to 1.
    """
    with httpx2.Client(base_url=release.url, timeout=120) as caller:
        return int(send(caller, model_id).headers["Stoker-Queue-Ms"])


def test_ten_times_the_load_is_served_or_refused_in_words_and_over_when_it_ends(stub: Release, crowded: str) -> None:
    told = asyncio.run(overload(stub, crowded, rate=10 * MOST, seconds=OVERLOAD_SECONDS))

    served = [each for each in told if each.status == httpx2.codes.OK]
    refused = [each for each in told if each.status != httpx2.codes.OK]
    assert {each.status for each in refused} <= {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE}
    assert all(each.retry_after for each in refused)
    assert len(served) > 0.7 * MOST * OVERLOAD_SECONDS
    eventually(lambda: waited(stub, crowded) == 0, seconds=10)


def test_two_thousand_slow_connections_are_closed_and_keep_nobody_from_being_served(stub: Release, crowded: str) -> None:
    with traffic(stub, crowded) as told:
        endings = asyncio.run(slow_connections(stub, SLOW_CONNECTIONS, SLOW_SECONDS))
        told.goes_on()

    assert endings == {"closed": SLOW_CONNECTIONS}
    assert told.failed == {}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_300_mb_is_refused_and_kept_nowhere(stub: Release, crowded: str, chunked: bool) -> None:  # noqa: FBT001 - a parameter
    before = largest(stub)
    with traffic(stub, crowded) as told:
        statuses: list[int] = []
        senders = [
            threading.Thread(target=lambda: statuses.append(send_large(stub, LARGE_BYTES, chunked=chunked))) for _ in range(3)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        told.goes_on()

    assert statuses == [httpx2.codes.CONTENT_TOO_LARGE] * 3
    assert all(size - before[name] < GROWTH_KIB for name, size in largest(stub).items())
    assert told.failed == {}
