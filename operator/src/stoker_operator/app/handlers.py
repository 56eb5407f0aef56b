"""kopf as an informer: every change in the cluster becomes keys in the queue, and nothing else happens here.

kopf ends all its work at the first watch event that it does not understand (an ERROR of 500 or 504, half a line). It then
cancels every task of its event loop, once, and waits for their end; a watch whose cancellation is swallowed keeps it waiting
for ever. So it has a thread and a loop of its own, and is ended from here.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import kopf

from stoker_contracts import names
from stoker_operator.domain.keys import CONFIGS, Key, of_child, of_resource

Sink = Callable[[Iterable[Key]], None]

OUR_CHILDREN = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_MODEL_DEPLOYMENT}"
OUR_CONFIGS = f"{names.LABEL_MODELS_CONFIG}=true"
RECONNECT_PAUSES = (0.2, 0.5, 1, 2, *[3] * 60)
"""Seconds between kopf's tries to reach the API server; after the last one it gives up and is started again."""
_CANCELLATIONS = 5
_FAREWELL_SECONDS = 1.0
"""How long kopf may take to close its connections before it is cancelled again."""


def build_registry(sink: Sink, login: Callable[..., Awaitable[kopf.AiohttpSession | None]]) -> kopf.OperatorRegistry:
    """The handlers, each of which puts the keys that an event concerns into `sink`."""
    registry = kopf.OperatorRegistry()

    async def resource(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name for it
        sink(of_resource(body, deleted=type == "DELETED"))

    async def child(body: kopf.Body, **_: Any) -> None:
        sink(of_child(body))

    async def models_config(**_: Any) -> None:
        sink((CONFIGS,))

    kopf.on.login(registry=registry)(login)
    kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)(resource)
    kopf.on.event("apps", "v1", "deployments", registry=registry, id="deployment")(child)
    kopf.on.event("", "v1", "pods", registry=registry, id="pod")(child)
    kopf.on.event("", "v1", "configmaps", registry=registry)(models_config)
    return registry


class NoDifferences(kopf.DiffBaseStorage):
    """Spares kopf the deep copy of each object that it makes to tell handlers of changes, of which there are none here.

    Measured with 100 models: more than half of the operator's CPU time.
    """

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 - kopf's interface
        """Nothing counts."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - kopf's interface
        """Nothing was seen before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is kept."""


def build_settings() -> kopf.OperatorSettings:
    """Kopf without peering, scanning, posting and limits; only our objects are sent over."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.chunk_size = 500
    settings.watching.label_selectors["apps", "v1", "deployments"] = OUR_CHILDREN
    settings.watching.label_selectors["", "v1", "pods"] = OUR_CHILDREN
    settings.watching.label_selectors["", "v1", "configmaps"] = OUR_CONFIGS
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = RECONNECT_PAUSES
    settings.persistence.diffbase_storage = NoDifferences()
    settings.process.ultimate_exiting_timeout = None
    return settings


def login_with(kubeconfig: Path | None) -> Callable[..., kopf.ConnectionInfo | None]:
    """How kopf finds the API server: by this kubeconfig, or as the pod's service account."""
    if kubeconfig is None:
        return kopf.login_with_service_account
    os.environ["KUBECONFIG"] = str(kubeconfig)  # kopf takes the path from nowhere else
    return kopf.login_with_kubeconfig


class Sessions:
    """HTTP sessions for kopf that are closed from here: kopf forgets to close its own when it is ended from outside."""

    def __init__(self, find: Callable[..., kopf.ConnectionInfo | None]) -> None:
        self._find = find
        self._made: list[aiohttp.ClientSession] = []

    async def login(self, **found: Any) -> kopf.AiohttpSession | None:
        """A session with the credentials as they are now; kopf asks again when the API server refuses them."""
        info = self._find(**found)
        if info is None:
            return None
        connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
        session = aiohttp.ClientSession(connector=connector, headers=info.as_http_headers())
        self._made = [each for each in self._made if not each.closed] + [session]
        return kopf.AiohttpSession(server=info.server, default_namespace=info.default_namespace, aiohttp_session=session)

    async def close(self) -> None:
        """Close them all."""
        for session in self._made:
            await session.close()


@dataclass
class Watch:
    """One life of kopf, in the thread that calls `run`."""

    namespace: str
    kubeconfig: Path | None
    sink: Sink
    """Called in kopf's thread."""
    ready: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None

    def run(self) -> None:
        """Watch until stopped. Raises whatever kopf ends with; a quiet end is one too."""
        asyncio.run(self._operate())

    def stop(self) -> None:
        """End `run` soon. May be called from any thread."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _operate(self) -> None:
        sessions = Sessions(login_with(self.kubeconfig))
        try:
            await self._watch(sessions)
        finally:
            await sessions.close()

    async def _watch(self, sessions: Sessions) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        roots = await kopf.spawn_tasks(
            registry=build_registry(self.sink, sessions.login),
            settings=build_settings(),
            namespaces=[self.namespace],
            standalone=True,
            stop_flag=self._stop,
            ready_flag=self.ready,
        )
        ended, _ = await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
        self.ready.clear()
        await _end_all(roots)
        for task in ended:
            task.result()


async def _end_all(roots: Collection[asyncio.Task[None]]) -> None:
    """End every other task of this loop. One that swallows its cancellation gets another, but for kopf's roots: they clean up."""
    spared: set[asyncio.Task[Any] | None] = {asyncio.current_task()}
    for _ in range(_CANCELLATIONS):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        for task in others - spared:
            task.cancel()
        await asyncio.wait(others, timeout=_FAREWELL_SECONDS)
        spared.update(roots)
