"""The operator as a process: wiring, signals, exit code."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from stoker_operator.adapters.port import Cluster
from stoker_operator.app.health import HealthServer, Vitals
from stoker_operator.app.reconcile import Reconciler
from stoker_operator.app.resync import Resync
from stoker_operator.app.settings import Settings
from stoker_operator.app.supervisor import Patience, Supervisor, Watching
from stoker_operator.app.workers import Workers
from stoker_operator.domain.keys import Key

log = logging.getLogger(__name__)

EXIT_BROKEN = 1
EXIT_SETTINGS = 2
_LEVELS = {"httpx2": "WARNING", "httpcore2": "WARNING", "kopf": "WARNING", "kopf._core.reactor.running": "ERROR"}
"""Loggers that tell of every request or event, or that signals do not reach kopf's thread, as is meant."""

MakeWatch = Callable[[Callable[[Iterable[Key]], None]], Watching]
"""Makes a watch that puts keys into a sink, which may be called from any thread."""


class Operator:
    """All loops of one operator over one namespace."""

    def __init__(self, settings: Settings, cluster: Cluster, make_watch: MakeWatch, patience: Patience | None = None) -> None:
        self._settings = settings
        self._workers = Workers(Reconciler(cluster, settings.worker).reconcile, settings.reconciles)
        self._resync = Resync(cluster, self._workers.add, settings.resync_seconds)
        self._supervisor = Supervisor(lambda: make_watch(self._add_from_thread), self._resync.soon, patience)
        self._health = HealthServer(lambda: self.vitals.ailments)
        self._loop = asyncio.get_running_loop()

    @property
    def vitals(self) -> Vitals:
        """How the operator fares now."""
        last = self._resync.last
        return Vitals(
            watching=self._supervisor.watching,
            workers_alive=self._workers.alive,
            longest_reconcile=self._workers.longest_running,
            resync_age=None if last is None else self._loop.time() - last,
            resync_period=self._settings.resync_seconds,
        )

    def _add_from_thread(self, keys: Iterable[Key]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._workers.add, tuple(keys))

    async def run(self) -> int:
        """Work until asked to stop (0) or until a loop breaks (1)."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stopping.set)
        port = await self._health.start(self._settings.health_host, self._settings.health_port)
        log.info("serving the namespace %s; health on port %d", self._settings.namespace, port)
        working, asked = asyncio.create_task(self._work()), asyncio.create_task(stopping.wait())
        await asyncio.wait((working, asked), return_when=asyncio.FIRST_COMPLETED)
        broken = working.done()
        if broken:
            log.error("giving up", exc_info=working.exception())
        working.cancel()
        asked.cancel()
        await asyncio.gather(working, asked, return_exceptions=True)
        await self._health.stop()
        return EXIT_BROKEN if broken else 0

    async def _work(self) -> None:
        """List everything once, then reconcile and watch."""
        await self._resync.first()
        self._workers.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._supervisor.run())
                group.create_task(self._resync.run())
        finally:
            await self._workers.stop()


def main() -> int:
    """Run an operator from the environment."""
    try:
        settings = Settings()
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            variable = f"STOKER_{found['loc'][0]}".upper() if found["loc"] else "STOKER"
            where = ".".join(map(str, found["loc"][1:]))
            print(f"{variable}{f' ({where})' if where else ''}: {found['msg']}", file=sys.stderr)  # noqa: T201 - nothing is set up yet
        return EXIT_SETTINGS
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    from stoker_operator.adapters.kubernetes import Kubernetes  # noqa: PLC0415 - slow to import, and bad settings are told at once
    from stoker_operator.app.handlers import Watch  # noqa: PLC0415 - as above

    cluster = Kubernetes.connect(settings.namespace, settings.kubeconfig)
    try:
        operator = Operator(settings, cluster, lambda sink: Watch(settings.namespace, settings.kubeconfig, sink))
        return await operator.run()
    finally:
        await cluster.close()
