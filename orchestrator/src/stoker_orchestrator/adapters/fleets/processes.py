"""Workers as child processes of the orchestrator, from a models config file: one host, no Kubernetes."""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from stoker_contracts.capabilities import Price
from stoker_contracts.models_config import ModelEntry, parse
from stoker_contracts.resources.conditions import Verdict
from stoker_contracts.resources.scaling import ScalingDecision
from stoker_contracts.worker import Variable
from stoker_orchestrator.adapters.fleets.port import FleetError, Sink
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen, ModelSeen, Synced
from stoker_orchestrator.domain.health import Report
from stoker_orchestrator.domain.model import Bounds, EndpointState, Model, Obstacle, Url

log = logging.getLogger(__name__)

STARTING_POLL_SECONDS = 0.1
READY_POLL_SECONDS = 1.0
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a worker that died is started again; a worker that became ready begins anew."""
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How workers are started."""

    models_dir: Path
    engine: str = "diffusers"
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 600.0
    most: int = 1
    """Workers of one model at a time."""
    idle_seconds: float = 600.0
    """Without a job for so long, workers end."""


class ProcessFleet:
    """As many processes for each model as were asked for; one at the start where it is warm.

    Models with URLs are told with them and get no process.
    """

    def __init__(self, models_config: Path, command: WorkerCommand) -> None:
        self._file = models_config
        self._command = command
        self._entries: dict[str, ModelEntry] = {}
        self._keepers: dict[str, list[_Keeper]] = {}
        self._numbers = itertools.count(1)
        self._obstacles: dict[str, Obstacle | None] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._sink: Sink | None = None

    async def run(self, sink: Sink) -> None:
        """Start the warm models and keep every started worker running, until cancelled."""
        self._sink = sink
        self._read()
        for entry in self._entries.values():
            sink(ModelSeen(self._model(entry)))
        sink(Synced())
        for entry in self._entries.values():
            if entry.warm and not entry.urls:
                await self.scale(entry.name, 1, expected=0)
        try:
            await asyncio.Event().wait()
        finally:
            everybody = [keeper.task for keepers in self._keepers.values() for keeper in keepers if keeper.task is not None]
            for task in everybody:
                task.cancel()
            await asyncio.gather(*everybody, *self._ending, return_exceptions=True)

    async def scale(self, model: str, replicas: int, *, expected: int) -> None:
        """Keep so many workers of `model` running; those that cost least go first."""
        if self._sink is None or model not in self._entries or self._entries[model].urls:
            message = "no such model in the models config, or none that is run here"
            raise FleetError(message)
        keepers = self._keepers.setdefault(model, [])
        if len(keepers) != expected:
            return
        while len(keepers) < replicas:
            keeper = _Keeper()
            keeper.task = asyncio.create_task(self._keep(self._entries[model], keeper, self._sink))
            keepers.append(keeper)
        going = sorted(keepers, key=lambda keeper: keeper.rank)[: len(keepers) - replicas]
        for keeper in going:
            keepers.remove(keeper)
            assert keeper.task is not None  # noqa: S101 - it has one from its making on
            keeper.task.cancel()
            self._ending.add(keeper.task)
            keeper.task.add_done_callback(self._ending.discard)
        if not keepers:
            self._obstacles.pop(model, None)  # nobody would ever find out that it is gone
        self._sink(ModelSeen(self._model(self._entries[model])))

    async def rank(self, endpoint: str, cost: int) -> None:
        """Remember what ending this worker would cost."""
        for keeper in (keeper for keepers in self._keepers.values() for keeper in keepers):
            if keeper.worker == endpoint:
                keeper.rank = cost

    async def advertise(self, model: str, verdict: Verdict) -> None:
        """The log is where the owner of a single host looks."""
        log.info("%s: %s", model, verdict.message)

    async def report(self, model: str, endpoints: Sequence[Report]) -> None:
        """Each change was logged when it was seen."""

    async def explain(self, model: str, decisions: Sequence[ScalingDecision]) -> None:
        """The log is where the owner of a single host looks."""
        if decisions:
            log.info("%s: %d workers from now on: %s", model, decisions[-1].after, decisions[-1].message)

    def _read(self) -> None:
        try:
            config = parse(self._file.read_text(), with_tokens=True)
        except (OSError, UnicodeDecodeError) as error:
            message = f"the models config cannot be read: {type(error).__name__}"
            raise FleetError(message) from error
        if config.error:
            raise FleetError(config.error)
        for refusal in config.refusals:
            log.error("entry %d of the models config is not served: %s", refusal.index, refusal.message)
        for remark in config.remarks:
            log.warning("entry %d of the models config: %s", remark.index, remark.message)
        self._entries = {entry.name: entry for entry in config.models}

    def _model(self, entry: ModelEntry) -> Model:
        asked = entry.price
        price = Price(per_unit=asked.per_unit, unit="pixel", currency=asked.currency) if asked is not None else None
        return Model(
            name=entry.name,
            pipeline=entry.pipeline,
            model_id=entry.model_id,
            warm=entry.warm,
            capacity=entry.capacity,
            replicas=len(self._keepers.get(entry.name, ())),
            scaling=self._scaling(entry),
            start_timeout=self._command.start_seconds,
            obstacle=self._obstacles.get(entry.name),
            price=price,
            urls=tuple(Url(each.url, each.capacity, each.token_key, each.token) for each in entry.urls),
        )

    def _scaling(self, entry: ModelEntry) -> Bounds | None:
        if entry.urls:
            return None
        return Bounds(int(entry.warm), self._command.most, self._command.idle_seconds)

    def _hindered(self, entry: ModelEntry, obstacle: Obstacle | None, sink: Sink) -> None:
        self._obstacles[entry.name] = obstacle
        sink(ModelSeen(self._model(entry)))

    async def _keep(self, entry: ModelEntry, keeper: "_Keeper", sink: Sink) -> None:
        """Run one worker after the other, with a pause that grows while they die before they are ready."""
        failures = 0
        while True:
            keeper.worker = f"{entry.name}-{next(self._numbers)}"
            was_ready = await self._run_one(entry, keeper.worker, sink)
            failures = 0 if was_ready else failures + 1
            pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
            log.warning("a worker of %s ended; the next one starts in %g s", entry.name, pause)
            await asyncio.sleep(pause)

    async def _run_one(self, entry: ModelEntry, identity: str, sink: Sink) -> bool:
        """Run one worker to its end; True when it was ready once. A host without room for it counts as its failure."""
        try:
            with tempfile.TemporaryDirectory(prefix="stoker-worker-") as folder:
                worker = _Worker(identity, entry, self._command, Path(folder))
                was_ready = await worker.run(sink, lambda: self._hindered(entry, None, sink))
                obstacle = worker.obstacle()
        except OSError as error:
            log.error("a worker of %s could not be started: %s", entry.name, error.strerror)  # noqa: TRY400 - said in words
            return False
        if obstacle is not None and not was_ready:
            self._hindered(entry, obstacle, sink)
            log.error("%s cannot be served: %s", entry.name, obstacle.message)
        return was_ready


@dataclass(slots=True, eq=False)
class _Keeper:
    """Keeps one place of a model filled: the worker that runs there now, and what ending it would cost."""

    worker: str = ""
    rank: int = 0
    task: asyncio.Task[None] | None = None


class _Worker:
    """One child process from its start to its end."""

    def __init__(self, identity: str, entry: ModelEntry, command: WorkerCommand, folder: Path) -> None:
        self._id = identity
        self._entry = entry
        self._command = command
        self._message = folder / "termination-message"
        self._port = _free_port()
        self._seen = EndpointSeen(identity, entry.name, f"127.0.0.1:{self._port}", entry.capacity, EndpointState.STARTING)

    async def run(self, sink: Sink, on_ready: Callable[[], None]) -> bool:
        """Start, follow its readiness, wait for its end; True when it was ready once."""
        process = await asyncio.create_subprocess_exec(*self._arguments(), env=self._environment())
        sink(self._seen)
        following = asyncio.create_task(self._follow(sink, on_ready))
        try:
            await process.wait()
            return self._seen.state is not EndpointState.STARTING
        finally:
            following.cancel()
            sink(EndpointGone(self._id))
            await _stopped(process)

    def obstacle(self) -> Obstacle | None:
        """What the worker said when it gave up; on a disk that is full it may end in the middle of a letter."""
        if not self._message.exists():
            return None
        reason, _, words = self._message.read_text(errors="replace").partition(": ")
        return Obstacle(reason, words)

    async def _follow(self, sink: Sink, on_ready: Callable[[], None]) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                state = await self._state(session)
                if state is not self._seen.state:
                    self._seen = replace(self._seen, state=state)
                    if state is EndpointState.READY:
                        on_ready()
                    sink(self._seen)
                starting = state is EndpointState.STARTING
                await asyncio.sleep(STARTING_POLL_SECONDS if starting else READY_POLL_SECONDS)

    async def _state(self, session: aiohttp.ClientSession) -> EndpointState:
        try:
            async with session.get(f"http://{self._seen.address}/ready") as answer:
                ready = answer.status == 200  # noqa: PLR2004
        except (aiohttp.ClientError, TimeoutError):
            ready = False
        if ready:
            return EndpointState.READY
        return self._seen.state if self._seen.state is EndpointState.STARTING else EndpointState.DRAINING

    def _arguments(self) -> list[str]:
        launcher = [sys.executable, "-m", "stoker_orchestrator.adapters.fleets.launcher", str(os.getpid())]
        return [*launcher, sys.executable, "-m", "stoker_worker"]

    def _environment(self) -> dict[str, str]:
        entry = self._entry
        ours = {
            Variable.PIPELINE: entry.pipeline.value,
            Variable.MODEL_ID: entry.model_id,
            Variable.MODEL_DIR: str(self._command.models_dir),
            Variable.ENGINE: self._command.engine,
            Variable.CAPACITY: str(entry.capacity),
            Variable.HOST: "127.0.0.1",
            Variable.PORT: str(self._port),
            Variable.OPTIMIZATION: ",".join(flag for flag, on in entry.optimization.items() if on),
            Variable.TERMINATION_MESSAGE_PATH: str(self._message),
        }
        return os.environ | {key.value: value for key, value in ours.items()} | dict(self._command.environment)


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end, then make it."""
    if process.returncode is not None:
        return
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    if process.returncode is None:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
