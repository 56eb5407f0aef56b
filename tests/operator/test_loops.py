"""The loops around the reconcilers: worker tasks, resync, the watch's supervisor, health, the process."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import httpx2
import pytest

from stoker_operator.adapters.port import ClusterError
from stoker_operator.app.health import STUCK_SECONDS, HealthServer, Vitals
from stoker_operator.app.process import EXIT_BROKEN, EXIT_SETTINGS, Operator, main
from stoker_operator.app.queue import Pauses
from stoker_operator.app.resync import Resync
from stoker_operator.app.settings import Settings
from stoker_operator.app.supervisor import Patience, Supervisor, WatchLostError
from stoker_operator.app.workers import Workers
from stoker_operator.domain.keys import CONFIGS, Key, Scope
from tests.support import resources as made
from tests.support.fake_cluster import FakeCluster
from tests.support.waiting import until

A, B, C = (Key(Scope.MODEL, name) for name in "abc")
QUICK = Pauses(spacing=0.0, first=0.01, longest=0.02)
HASTE = Patience(first=0.001, longest=0.002, limit=3, window=60.0)


@asynccontextmanager
async def started(workers: Workers) -> AsyncIterator[Workers]:
    workers.start()
    yield workers
    await workers.stop()


async def test_several_keys_are_reconciled_at_a_time_and_each_key_once() -> None:
    begun: list[Key] = []
    under_way: set[Key] = set()
    overlaps: list[Key] = []
    release = asyncio.Event()

    async def reconcile(key: Key) -> None:
        if key in under_way:
            overlaps.append(key)
        begun.append(key)
        under_way.add(key)
        await release.wait()
        under_way.discard(key)

    async with started(Workers(reconcile, 4, QUICK)) as workers:
        workers.add([A, B])
        await until(lambda: under_way == {A, B})
        workers.add([A, C])
        await until(lambda: C in under_way)
        assert workers.longest_running >= 0
        assert not workers.idle
        release.set()
        await until(lambda: workers.idle)
        assert workers.alive
    assert not workers.alive
    assert overlaps == []
    assert sorted(begun) == [A, A, B, C]


async def test_whatever_fails_is_tried_again_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    troubles: list[Exception | None] = [ClusterError("away"), ValueError("a mistake"), None]
    seen: list[Key] = []

    async def reconcile(key: Key) -> None:
        seen.append(key)
        trouble = troubles.pop(0)
        if trouble is not None:
            raise trouble

    async with started(Workers(reconcile, 1, QUICK)) as workers:
        workers.add([A])
        await until(lambda: len(seen) == 3)
    assert "model/a failed and is tried again" in caplog.text
    assert "by a mistake of the operator" in caplog.text


async def test_a_key_is_looked_at_again_after_the_time_that_its_reconcile_asked_for() -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> float:
        seen.append(key)
        return 0.01

    async with started(Workers(reconcile, 1, QUICK)) as workers:
        workers.add([A])
        await until(lambda: len(seen) >= 3)


async def test_the_first_listing_is_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_operator.app.resync._FIRST_PAUSES", (0.001,))
    cluster, added = FakeCluster(made.resource("a")), list[Key]()
    cluster.broken = True
    resync = Resync(cluster, added.extend, 60)
    first = asyncio.create_task(resync.first())
    await asyncio.sleep(0)
    assert resync.last is None

    cluster.broken = False
    await first

    assert added == [A, CONFIGS]
    assert resync.last is not None


async def test_a_resync_also_asks_for_what_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_operator.app.resync._FIRST_PAUSES", (0.001,))
    cluster, added = FakeCluster(made.resource("a"), made.resource("b")), list[Key]()
    resync = Resync(cluster, added.extend, 0.01)
    await resync.first()
    cluster.objects.clear()
    added.clear()

    running = asyncio.create_task(resync.run())
    await until(lambda: added)
    running.cancel()

    assert added[:3] == [A, B, CONFIGS]


async def test_a_resync_that_failed_is_made_up_for_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_operator.app.resync._FIRST_PAUSES", (0.001,))
    cluster, added = FakeCluster(), list[Key]()
    cluster.broken = True
    resync = Resync(cluster, added.extend, 3600)
    running = asyncio.create_task(resync.run())
    resync.soon()
    await asyncio.sleep(0.01)

    cluster.broken = False
    await until(lambda: added)

    running.cancel()


class PlayedWatch:
    """A watch that runs until it is stopped or broken."""

    def __init__(self, *, breaks: bool) -> None:
        self.ready = threading.Event()
        self.breaks = breaks
        self.over = threading.Event()

    def run(self) -> None:
        if self.breaks:
            message = "ERROR 500"
            raise OSError(message)
        self.ready.set()
        self.over.wait()

    def stop(self) -> None:
        self.over.set()


async def test_a_watch_that_breaks_is_started_again_and_what_it_missed_is_looked_at() -> None:
    lives = iter([True, True, False])
    restarts: list[None] = []
    supervisor = Supervisor(lambda: PlayedWatch(breaks=next(lives)), lambda: restarts.append(None), HASTE)

    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.watching)

    assert len(restarts) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not supervisor.watching


async def test_a_watch_that_breaks_all_the_time_is_given_up() -> None:
    supervisor = Supervisor(lambda: PlayedWatch(breaks=True), lambda: None, HASTE)

    with pytest.raises(WatchLostError, match="4 times"):
        await supervisor.run()


def vitals(**others: float | bool | None) -> Vitals:
    well = {"watching": True, "workers_alive": True, "longest_reconcile": 1.0, "resync_age": 10.0, "resync_period": 300.0}
    return Vitals(**(well | others))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"watching": False}, "watch"),
        ({"workers_alive": False}, "worker"),
        ({"longest_reconcile": STUCK_SECONDS + 1}, "reconcile"),
        ({"resync_age": 901.0}, "resync"),
        ({"resync_age": None}, "listed"),
    ],
)
def test_whatever_does_not_work_is_an_ailment(state: dict[str, float | bool | None], words: str) -> None:
    (ailment,) = vitals(**state).ailments

    assert words in ailment
    assert vitals().ailments == []


async def test_healthz_is_200_while_all_is_well_and_503_with_the_ailments_else() -> None:
    ailments: list[str] = []
    server = HealthServer(lambda: ailments)
    port = await server.start("127.0.0.1", 0)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/healthz")).status_code == 200
        ailments.append("the watch is down")
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (503, "the watch is down\n")
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/healthz")).status_code == 404
    await server.stop()


async def test_rubbish_on_the_health_port_does_no_harm() -> None:
    server = HealthServer(list)
    port = await server.start("127.0.0.1", 0)
    for rubbish in (b"", b"\x00" * 20_000, b"GET"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(rubbish)
        writer.close()
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    await server.stop()


def operator(cluster: FakeCluster, *, breaks: bool = False) -> Operator:
    settings = Settings(namespace="stoker", worker=made.release(), health_host="127.0.0.1", health_port=0)

    def make_watch(sink: Callable[[Iterable[Key]], None]) -> PlayedWatch:
        threading.Thread(target=sink, args=([A],)).start()
        return PlayedWatch(breaks=breaks)

    return Operator(settings, cluster, make_watch, HASTE)


async def test_an_operator_works_until_it_is_asked_to_stop() -> None:
    cluster = FakeCluster(made.resource("a"))
    under_test = operator(cluster)
    running = asyncio.create_task(under_test.run())
    await until(lambda: under_test.vitals.ailments == [] and cluster.writes)

    os.kill(os.getpid(), signal.SIGTERM)

    assert await asyncio.wait_for(running, 5) == 0


async def test_an_operator_whose_watch_is_lost_gives_up() -> None:
    assert await asyncio.wait_for(operator(FakeCluster(), breaks=True).run(), 5) == EXIT_BROKEN


def test_bad_settings_are_refused_at_start_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOKER_WORKER", '{"image": "w:1", "engine": "magic"}')
    monkeypatch.delenv("STOKER_NAMESPACE", raising=False)

    assert main() == EXIT_SETTINGS
    told = capsys.readouterr().err
    assert "STOKER_NAMESPACE: " in told
    assert "STOKER_WORKER (engine): " in told
