"""The worker as a process: signals, draining, the termination message, the exit code."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn
from pydantic import ValidationError

from stoker_contracts.pipelines import FACTS
from stoker_contracts.worker import ExitReason, Variable
from stoker_worker.app.connections import BoundedConnection
from stoker_worker.app.engines import engine_of
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.scheduler import Rules, Scheduler
from stoker_worker.app.server import create_app
from stoker_worker.app.settings import Settings
from stoker_worker.app.started import process_seconds
from stoker_worker.encoding.decoders import Decoders, DecodersError
from stoker_worker.engine.protocol import Engine, FatalEngineError
from stoker_worker.engine.stub import Fault

log = logging.getLogger(__name__)

EXIT_FAILED = 1
EXIT_SETTINGS = 2
KEEP_SECONDS = 75
"""How long an idle connection is kept; longer than an orchestrator does, so that no job meets a closing one."""
_LAST_ANSWERS_SECONDS = 10
"""How long answers may take to reach their callers once no job is left: less than Kubernetes gives beyond the drain."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the worker drains first. `opened` is called once the port is open."""

    def __init__(self, config: uvicorn.Config, opened: Callable[[], None]) -> None:
        super().__init__(config)
        self._opened = opened

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port."""
        await super().startup(sockets)
        self._opened()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Worker:
    """One model behind HTTP, from start to exit code."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._metrics = Metrics()
        rules = Rules(settings.max_batch, settings.step_timeout_seconds, settings.park_after_seconds)
        self._scheduler = Scheduler(engine, settings.capacity, self._metrics, self._fail, rules)
        self._decoders = Decoders()
        app = create_app(settings, engine, self._scheduler, self._metrics, self._decoders)
        self._server = _Server(
            uvicorn.Config(
                app, settings.host, settings.port, log_level="warning", access_log=False, lifespan="off", ws="none",
                proxy_headers=False, server_header=False, timeout_keep_alive=KEEP_SECONDS, http=BoundedConnection,
                timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
            ),
            self._listening,
        )  # fmt: skip
        self._exit_code = 0
        self._stopping: asyncio.Task[None] | None = None
        self._decoding: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Listen first, then load; return the exit code when all is over."""
        loop = asyncio.get_running_loop()
        if self._settings.stub_script.fault is Fault.IGNORE_SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            loop.add_signal_handler(signal.SIGTERM, self._drain)
            loop.add_signal_handler(signal.SIGINT, self._drain)
        try:
            await self._server.serve()
        finally:
            self._decoders.close()
        return self._exit_code

    def _listening(self) -> None:
        """The load begins now and not before: its imports would keep the port closed. Decoders start, too, before a job comes."""
        self._metrics.start_seconds_of("listen", process_seconds())
        self._scheduler.start()
        if FACTS[self._settings.pipeline].takes_image:
            self._decoding = asyncio.create_task(self._start_decoders())

    async def _start_decoders(self) -> None:
        with contextlib.suppress(DecodersError):
            await self._decoders.start()

    def _drain(self) -> None:
        log.info("asked to stop: finishing what is in the line")
        self._scheduler.drain()
        self._stopping = self._stopping or asyncio.create_task(self._stop_when_idle())

    async def _stop_when_idle(self) -> None:
        try:
            await asyncio.wait_for(self._scheduler.idle(), self._settings.drain_seconds)
        except TimeoutError:
            log.warning("a job did not end within DRAIN_SECONDS and is given up")
            self._server.force_exit = True
        self._server.should_exit = True

    def _fail(self, error: FatalEngineError) -> None:
        farewell(self._settings.termination_message_path, error.reason, str(error))
        self._exit_code = EXIT_FAILED
        self._server.should_exit = True


def farewell(path: os.PathLike[str] | str, reason: ExitReason, words: str) -> None:
    """Say why the worker ends: in its log, and where the operator reads it."""
    message = f"{reason}: {words}"[:2000]
    log.error("%s", message)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - a device path on Kubernetes
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(message)


def main() -> int:
    """Run a worker from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        words = "; ".join(f"{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in found)
        path = os.environ.get(Variable.TERMINATION_MESSAGE_PATH, "/dev/termination-log")
        farewell(path, ExitReason.SETTINGS_INVALID, words)
        return EXIT_SETTINGS
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells of each odd byte of a form
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    code = await Worker(settings, engine_of(settings)).run()
    sys.stdout.flush()
    return code
