"""kopf as it is, against an API server that misbehaves in its watches."""

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from stoker_operator.app.handlers import OUR_CHILDREN, OUR_CONFIGS, Watch
from stoker_operator.app.supervisor import Patience, Supervisor
from stoker_operator.domain.keys import CONFIGS, Key, Scope
from tests.support.resources import resource
from tests.support.scripted_api import ScriptedApi, told
from tests.support.waiting import until

HASTE = Patience(first=0.01)
MODEL = Key(Scope.MODEL, "m")


class Sink:
    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.threads: set[str] = set()

    def __call__(self, keys: Iterable[Key]) -> None:
        self.keys.extend(keys)
        self.threads.add(threading.current_thread().name)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "")


async def followed(api: ScriptedApi, sink: Sink, restarts: list[None]) -> None:
    """Watch until the model was told of."""
    supervisor = Supervisor(lambda: Watch("stoker", api.kubeconfig, sink), lambda: restarts.append(None), HASTE)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: MODEL in sink.keys, seconds=30)
    assert supervisor.watching
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: not any(thread.name == "kopf" for thread in threading.enumerate()), seconds=30)


async def test_changes_become_keys_and_only_our_objects_are_sent(tmp_path: Path) -> None:
    sink = Sink()
    async with ScriptedApi([told("ADDED", resource("m")), told("DELETED", resource("m"))]).running(tmp_path) as api:
        await followed(api, sink, [])

    assert sink.keys == [MODEL, MODEL, CONFIGS]
    assert sink.threads == {"kopf"}
    assert api.queries["pods"]["labelSelector"] == api.queries["deployments"]["labelSelector"] == OUR_CHILDREN
    assert api.queries["configmaps"]["labelSelector"] == OUR_CONFIGS
    assert "labelSelector" not in api.queries["modeldeployments"]


@pytest.mark.parametrize(
    "blow",
    [
        told("ERROR", {"kind": "Status", "code": 500, "message": "etcd is gone"}),
        told("ERROR", {"kind": "Status", "code": 504, "message": "timed out"}),
        b'{"type": "ADDED", "obj\n',
    ],
    ids=["500", "504", "half a line"],
)
async def test_a_watch_event_that_ends_kopf_does_not_end_the_operator(tmp_path: Path, blow: bytes) -> None:
    sink, restarts = Sink(), list[None]()
    async with ScriptedApi([blow], [told("ADDED", resource("m"))]).running(tmp_path) as api:
        await followed(api, sink, restarts)

    assert len(restarts) == 1


async def test_a_version_that_is_too_old_is_listed_anew_in_the_same_life(tmp_path: Path) -> None:
    sink, restarts = Sink(), list[None]()
    expired = told("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
    async with ScriptedApi([expired], [told("ADDED", resource("m"))]).running(tmp_path) as api:
        await followed(api, sink, restarts)

    assert (restarts, api.lists) == ([], 2)
