"""The orchestrator as a process: wiring, signals, draining, exit code."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import ssl
import sys
import time
from collections.abc import Callable

import uvloop
from pydantic import ValidationError

from stoker_contracts.overview import Overview
from stoker_orchestrator.adapters.fleets.port import Fleet, FleetError
from stoker_orchestrator.adapters.fleets.urls import UrlFleet
from stoker_orchestrator.adapters.health import HealthCheck
from stoker_orchestrator.adapters.leases.port import LeaseStore
from stoker_orchestrator.adapters.probe import Prober
from stoker_orchestrator.adapters.tokens import Tokens
from stoker_orchestrator.adapters.upstream import Upstream
from stoker_orchestrator.app.body import Budget
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.control import VERSION, create_control
from stoker_orchestrator.app.dispatcher import Dispatcher
from stoker_orchestrator.app.foreign import Foreign
from stoker_orchestrator.app.jobs import JobRoutes
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.peers.peers import DeafError, Peers, Site
from stoker_orchestrator.app.serving.server import Server
from stoker_orchestrator.app.serving.shared import Limits as Connections
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.domain.admission import Limits
from stoker_orchestrator.domain.advertise import Advertiser
from stoker_orchestrator.domain.overview import Identity, overview
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Switchboard

log = logging.getLogger(__name__)

EXIT_SETTINGS = 2


class Orchestrator:
    """One data plane over one fleet."""

    def __init__(self, settings: Settings, fleet: Fleet, leases: LeaseStore | None = None) -> None:
        self._settings = settings
        self.metrics = Metrics()
        switchboard = Switchboard(Registry(), Limits(settings.line_limit, settings.line_seconds))
        trust = ssl.create_default_context()
        if settings.authorities_file is not None:
            trust.load_verify_locations(settings.authorities_file)
        tokens = Tokens(settings.tokens_dir)
        urls = UrlFleet(fleet, tokens, HealthCheck(tokens, trust), self._may_work, lambda: self.broker.leading)
        self._prober = Prober(trust, urls.authorization)
        advertiser = Advertiser(settings.name)
        self.broker = Broker(switchboard, urls, self._prober, advertiser, self.metrics, settings.residency_seconds)
        self._upstream = Upstream(trust)
        self.jobs = JobRoutes(self.broker, self._upstream, Foreign(urls.barred, urls.authorization), settings, self.metrics)
        self.budget = Budget(settings.body_budget_bytes)
        control = create_control(self.broker.publisher, self.metrics, self._is_ready, self._look)
        limits = Connections(settings.max_connections, stall=settings.body_stall_seconds, body=settings.max_body_bytes)
        self.server = Server(Dispatcher(self.jobs, control), limits, self.budget)
        self.peers = Peers(_site(settings), leases, self.broker, self.metrics) if leases is not None else None
        self._stopping = asyncio.Event()
        self.metrics.fleet.look = self._look

    def _is_ready(self) -> bool:
        return self.broker.registry.synced and not self.server.stopping and (self.peers is None or self.peers.ready)

    def _may_work(self, identity: str) -> bool:
        """Whether a job may run on an endpoint now. Only who leads knows of those that other orchestrators sent there."""
        endpoint = self.broker.registry.endpoint(identity)
        return not self.broker.leading or (endpoint is not None and endpoint.in_flight > 0)

    def _look(self) -> Overview:
        broker = self.broker
        about = Identity(self._settings.name, VERSION, leading=broker.leading)
        return overview(about, broker.switchboard, broker.scaler.decisions, broker.scaler.waits, time.monotonic())

    async def run(self) -> int:
        """Serve until asked to stop, then let jobs finish."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        _spare_the_collector()
        try:
            await self.server.listen(self._settings.host, self._settings.port)
        except OSError as error:
            log.error("%s:%s cannot be listened on: %s", self._settings.host, self._settings.port, error.strerror)  # noqa: TRY400 - said in words
            return 1
        following = asyncio.create_task(self.follow())
        following.add_done_callback(_say_why)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await self._finish_jobs()
        if self.peers is not None:
            await self.peers.end()
        await self.server.close()
        failed = following.done() and not following.cancelled() and following.exception() is not None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        self._upstream.close()
        await self._prober.close()
        self.jobs.log.flush()
        return 1 if failed else 0

    async def follow(self) -> None:
        """Follow the fleet and the other orchestrators, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.broker.run())
            if self.peers is not None:
                group.create_task(self.peers.run())

    async def _finish_jobs(self) -> None:
        self.server.wind_down()
        if self.peers is not None:
            self.peers.retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                while self.jobs.in_flight or self.server.expects:  # noqa: ASYNC110 - counted by the job path, once a request
                    await asyncio.sleep(0.05)


def _say_why(following: asyncio.Task[None]) -> None:
    """Log what ended a process that nobody asked to stop: where that was foreseen, its own words are enough."""
    error = None if following.cancelled() else following.exception()
    for each in _leaves(error) if error is not None else ():
        if isinstance(each, FleetError | DeafError):
            log.error("the orchestrator stops: %s", each)
        else:
            log.error("the orchestrator stops, in a way that was not foreseen", exc_info=each)


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors of a group of groups."""
    return [leaf for each in error.exceptions for leaf in _leaves(each)] if isinstance(error, BaseExceptionGroup) else [error]


def _spare_the_collector() -> None:
    """What was imported stays: looking through it again and again would stop all jobs for 0.1 s each time.

    A job's own objects go by their reference counts, so that little is left to look for.
    """
    gc.freeze()
    gc.set_threshold(20_000)


def _take_all_descriptors() -> None:
    """Each connection is one, and shells as well as some container engines allow 1,024 unless one asks for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    """Run an orchestrator from the environment."""
    try:
        settings = Settings()
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            variable = "".join(f"STOKER_{name}".upper() for name in found["loc"][:1])
            print(f"{variable}: {found['msg']}".removeprefix(": "), file=sys.stderr)  # noqa: T201 - nothing is set up yet
        return EXIT_SETTINGS
    return serve(settings, _fleet)


def serve(settings: Settings, fleet: Callable[[Settings], Fleet]) -> int:
    """Run an orchestrator over the fleet that `fleet` makes, until it is asked to stop; returns the exit code."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _take_all_descriptors()
    return uvloop.run(_run(settings, fleet))


async def _run(settings: Settings, fleet: Callable[[Settings], Fleet]) -> int:
    return await Orchestrator(settings, fleet(settings), _leases(settings)).run()


def _site(settings: Settings) -> Site:
    return Site(settings.peer_name, settings.peer_address, settings.host, settings.peer_port)


def _leases(settings: Settings) -> LeaseStore | None:
    if not settings.peer_lease:
        return None
    from stoker_orchestrator.adapters.leases.kubernetes import KubernetesLease  # noqa: PLC0415 - only what is used

    return KubernetesLease.connect(settings.namespace, settings.kubeconfig, settings.peer_lease)


def _fleet(settings: Settings) -> Fleet:
    if settings.fleet == "processes":
        from stoker_orchestrator.adapters.fleets.processes import ProcessFleet, WorkerCommand  # noqa: PLC0415 - only what is used

        command = WorkerCommand(
            settings.models_dir,
            settings.worker_engine,
            settings.worker_env,
            settings.worker_start_seconds,
            settings.workers_per_model,
            settings.worker_idle_seconds,
        )
        assert settings.models_config is not None  # noqa: S101 - the settings have checked it
        return ProcessFleet(settings.models_config, command)
    from stoker_orchestrator.adapters.fleets.kubernetes import KubernetesFleet  # noqa: PLC0415 - only what is used

    return KubernetesFleet.connect(settings.namespace, settings.kubeconfig)
