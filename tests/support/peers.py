"""Several orchestrators in one process, with one Lease, one played fleet each, and workers that count what runs on them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from aiohttp import web

from stoker_orchestrator.adapters.leases.port import LeaseError
from stoker_orchestrator.app.desk import Slot
from stoker_orchestrator.app.peers.remote import RemoteDesk
from stoker_orchestrator.app.process import Orchestrator
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.domain.election import Candidate, Read, Seen, Write
from stoker_orchestrator.domain.events import FleetEvent
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Model
from tests.support.election import Lease
from tests.support.fleet import PlayedFleet, endpoint, model, seen
from tests.support.orchestrator import JOB
from tests.support.waiting import until
from tests.support.workers import FakeWorker


class Leases:
    """One replica's way to the Lease; a test can close it, and lead the others to another address."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.away = False
        self.address: str | None = None

    async def read(self) -> Seen:
        return self._call(Read()) or Seen()

    async def write(self, write: Write) -> Seen | None:
        await asyncio.sleep(0)
        if self.address is not None and write.holder is not None:
            write = Write(Candidate(write.holder.identity, self.address, write.holder.token), write.changes, write.version)
        return self._call(write)

    async def close(self) -> None:
        self.away = True

    def _call(self, call: Read | Write) -> Seen | None:
        if self.away:
            message = "away"
            raise LeaseError(message)
        return self._lease.call(call)


class Gauge:
    """A worker that answers when it is let, and remembers how many jobs it ever had at a time, and in which order they came."""

    def __init__(self, capacity: int, *, open_: bool = False) -> None:
        self.capacity = capacity
        self.running = self.most = 0
        self.order: list[str] = []
        self.open = open_
        self.seconds = 0.0
        self._let = asyncio.Semaphore(0)

    def let(self, jobs: int = 1) -> None:
        """Answer so many jobs."""
        for _ in range(jobs):
            self._let.release()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if self.running >= self.capacity:
            self.most = max(self.most, self.running + 1)
            body = {"detail": {"msg": "worker is full"}, "error": {"message": "worker is full", "code": "worker_full"}}
            return web.json_response(body, status=500)
        self.running += 1
        self.most = max(self.most, self.running)
        self.order.append(request.headers.get("Stoker-Request-Id", ""))
        try:
            await (asyncio.sleep(self.seconds) if self.open else self._let.acquire())
        finally:
            self.running -= 1
        return web.json_response({"images": []})


class Replica:
    """One orchestrator of several."""

    def __init__(self, name: str, lease: Lease, events: list[FleetEvent], **settings: Any) -> None:
        self.name = name
        self.leases = Leases(lease)
        self.fleet = PlayedFleet(*events)
        made = Settings(
            fleet="kubernetes", namespace="n", host="127.0.0.1", peer_lease="l", peer_name=name, peer_address="127.0.0.1",
            peer_port=0, **settings,
        )  # fmt: skip
        self.orchestrator = Orchestrator(made, self.fleet, self.leases)
        assert self.orchestrator.peers is not None
        self.peers = self.orchestrator.peers
        self.board = self.orchestrator.broker.switchboard
        self.held: set[Slot] = set()
        self.client = httpx2.AsyncClient()
        self.jobs: set[asyncio.Task[httpx2.Response]] = set()
        self._following = asyncio.create_task(self.orchestrator.follow())

    async def listen(self) -> None:
        """Serve, and make a client of what is served."""
        port = await self.orchestrator.server.listen("127.0.0.1", 0)
        limits = httpx2.Limits(max_connections=None)
        self.client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=limits)

    @property
    def leading(self) -> bool:
        return self.peers.leading and not self.board.paused

    @property
    def linked(self) -> bool:
        return self.peers._began and self.peers._link.linked

    def in_flight(self, of: str = "m") -> int:
        return self.board.registry.in_flight(of)

    def job(self, identity: str = "", **headers: str) -> asyncio.Task[httpx2.Response]:
        """Send a job; its task ends with the answer."""
        sent = {"Stoker-Request-Id": identity, **headers} if identity else headers
        task = asyncio.create_task(self.client.post("/text-to-image", json=JOB, headers=sent))
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)
        return task

    def cut(self) -> None:
        """Its connections to the others break."""
        wires = {*self.peers._followers._wires, self.peers._link._wire}
        for wire in wires - {None}:
            assert wire is not None
            wire.abort()

    async def stop(self) -> None:
        """As SIGTERM does: hand over, finish, end."""
        self.orchestrator.server.wind_down()
        self.peers.retire()
        await until(lambda: not self.orchestrator.jobs.in_flight and not self.jobs, 30)
        await self.peers.end()
        await self.kill()

    async def kill(self) -> None:
        """Its process is no more, and neither are its connections."""
        self.leases.away = True
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await self._following
        for job in list(self.jobs):
            job.cancel()
        await self.orchestrator._prober.close()
        await self.client.aclose()
        await self.orchestrator.server.close()
        self.orchestrator._upstream.close()


def _is_held(slot: Slot) -> bool:
    """Whether the desk that counts the slot has not got it back yet."""
    desk = slot.desk
    return slot in (desk._held.values() if isinstance(desk, RemoteDesk) else getattr(desk, "_taken"))  # noqa: B009 - no part of the protocol


class Company:
    """All replicas, and the workers that all of them see."""

    def __init__(self, stack: AsyncExitStack, models: tuple[Model, ...], **settings: Any) -> None:
        self.lease = Lease()
        self.replicas: list[Replica] = []
        self.gauges: dict[str, Gauge] = {}
        self.too_many: list[str] = []
        """Endpoints of which more slots were given out than they have."""
        self._stack = stack
        self._settings = settings
        self._events: list[FleetEvent] = seen(*models)

    @property
    def leader(self) -> Replica:
        (leader,) = [each for each in self.replicas if each.leading]
        return leader

    @property
    def followers(self) -> list[Replica]:
        return [each for each in self.replicas if not each.leading]

    async def start(self, name: str) -> Replica:
        """One more replica, that leads or follows."""
        replica = Replica(name, self.lease, self._events, **self._settings)
        await replica.listen()
        self.replicas.append(replica)
        self._watch(replica)
        await until(lambda: replica.leading or replica.linked)
        return replica

    def _watch(self, replica: Replica) -> None:
        """Count the slots that the replica's jobs have."""
        broker = replica.orchestrator.broker
        take, take_now = broker.take, broker.take_now

        def count(slot: Slot) -> Slot:
            replica.held = {each for each in replica.held if _is_held(each)} | {slot}
            used = sum(each.endpoint.id == slot.endpoint.id and _is_held(each) for live in self.replicas for each in live.held)
            if used > self.gauges[slot.endpoint.id].capacity:
                self.too_many.append(slot.endpoint.id)
            return slot

        async def taken(model: Model, ask: Ask) -> Slot:
            return count(await take(model, ask))

        def taken_now(model: Model, cost: float) -> Slot | None:
            slot = take_now(model, cost)
            return count(slot) if slot is not None else None

        setattr(broker, "take", taken)  # noqa: B010 - it stands before a method
        setattr(broker, "take_now", taken_now)  # noqa: B010 - it stands before a method

    async def kill(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        await replica.kill()

    async def stop(self, replica: Replica) -> None:
        await replica.stop()
        self.replicas.remove(replica)

    async def worker(self, identity: str, capacity: int = 1, of: str = "m", *, open_: bool = False) -> Gauge:
        gauge = self.gauges[identity] = Gauge(capacity, open_=open_)
        worker = await self._stack.enter_async_context(FakeWorker(gauge).running())
        self.tell(endpoint(identity, of, capacity, address=worker.address))
        return gauge

    def tell(self, event: FleetEvent) -> None:
        """All see this of the fleet."""
        self._events.append(event)
        for replica in self.replicas:
            replica.fleet.tell(event)

    def settled(self) -> bool:
        """One leads, and all others are linked to it."""
        return sum(each.leading for each in self.replicas) == 1 and all(each.linked for each in self.followers)


@asynccontextmanager
async def company(count: int, *models: Model, **settings: Any) -> AsyncIterator[Company]:
    async with AsyncExitStack() as stack:
        made = Company(stack, models or (model(start_timeout=20),), **settings)
        try:
            for number in range(count):
                await made.start(f"o-{number}")
            yield made
        finally:
            for replica in list(made.replicas):
                await made.kill(replica)


def statuses(jobs: list[asyncio.Task[httpx2.Response]]) -> list[int]:
    return [job.result().status_code for job in jobs]
