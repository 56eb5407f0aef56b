"""The job path: a raw ASGI application, with no framework between the caller and the worker.

A request is identified from its head, waits for a slot, and is streamed to a worker; the answer is streamed back. A worker that
is lost before the first byte of its answer costs a second try on another one, with the same body.
"""

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from stoker_contracts.errors import ErrorType
from stoker_contracts.names import (
    HEADER_COLD_START,
    HEADER_MODEL,
    HEADER_OUTPUT_FORMAT,
    HEADER_QUEUE_MS,
    HEADER_REQUEST_ID,
    HEADER_WORKER,
)
from stoker_contracts.pipelines import FACTS, Media
from stoker_orchestrator.adapters.upstream import Answer, Upstream, WorkerLostError
from stoker_orchestrator.app.asgi import Receive, Scope, Send
from stoker_orchestrator.app.body import Body, BodyTooLargeError, Budget, BudgetSpentError, CallerGoneError, StalledError
from stoker_orchestrator.app.broker import Broker, RefusedError, Slot
from stoker_orchestrator.app.caller import CallerWatch
from stoker_orchestrator.app.job_log import JobLog
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.replies import send_refusal
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.app.target import NoTargetError, Path, Target, find_target
from stoker_orchestrator.app.timers import CoarseTimers
from stoker_orchestrator.domain.admission import Refusal

TRIES = 2
_REQUEST_ID, _MODEL, _WORKER, _QUEUE_MS, _COLD_START = (
    name.lower().encode() for name in (HEADER_REQUEST_ID, HEADER_MODEL, HEADER_WORKER, HEADER_QUEUE_MS, HEADER_COLD_START)
)
_SENT_ID = HEADER_REQUEST_ID.encode()
_PROCESS, _NUMBERS = secrets.token_hex(4), itertools.count()
"""Request ids are unique, not secret: this process, and the number of the request."""
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_PASSED_ON = frozenset({b"content-type", b"accept"})
_PASSED_BACK = frozenset({b"content-type", b"content-length", b"stoker-seed"})
_REFUSED = 500
_DRAINING, _FULL = b'"worker_draining"', b'"worker_full"'
FULL_PAUSE_SECONDS = 0.25
"""How long a worker that is full is left alone."""
_SHORT = 4096
"""A worker's own refusal is shorter than this."""


class WorkerFullError(Exception):
    """The worker has as many jobs as it takes. Ours are counted, so another orchestrator's are there, as during a rollout."""


@dataclass(slots=True)
class Job:
    """One request on its way.

    `declared` is the length of its body, where the caller has said so; `started` is set once the caller has the head of an
    answer: from then on nothing else can be said.
    """

    path: Path
    headers: Mapping[bytes, bytes]
    body: Body
    send: Send
    request_id: str
    declared: int | None
    told: list[tuple[bytes, bytes]]
    model: str = ""
    status: int = 0
    reason: str = ""
    started: bool = False


class JobRoutes:
    """The ASGI application of all job routes."""

    def __init__(self, broker: Broker, upstream: Upstream, settings: Settings, metrics: Metrics) -> None:
        self._broker = broker
        self._upstream = upstream
        self._settings = settings
        self._metrics = metrics
        self._budget = Budget(settings.body_budget_bytes)
        self._timers = CoarseTimers()
        self.log = JobLog()
        self.in_flight = 0
        self.accepting = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Path) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        settings = self._settings
        body = Body(receive, settings.max_body_bytes, self._budget, settings.body_stall_seconds, self._timers)
        identity = request_id(headers)
        job = Job(path, headers, body, send, identity, _declared(headers), [(_REQUEST_ID, identity.encode())])
        self.in_flight += 1
        try:
            await self._serve(job, scope["method"])
        except CallerGoneError:
            job.status, job.reason = 499, "caller_gone"
        finally:
            self.in_flight -= 1
            await body.close()
            self._metrics.jobs.ended(job.model, job.status, job.reason)
            self.log.ended(job.request_id, job.model, job.status, job.reason)

    async def _serve(self, job: Job, method: str) -> None:
        try:
            self._check(job, method)
            with CallerWatch(job.body, self._settings.body_stall_seconds, self._timers):
                await job.body.start()
                target = await find_target(self._broker.registry, job.path, job.headers, job.body)
                job.model = target.model.name
                job.told.append((_MODEL, target.model.name.encode()))
                await self._try(job, target)
        except (NoTargetError, RefusedError) as error:
            await self._refuse(job, error.refusal)
        except BodyTooLargeError as error:
            words = f"the body is larger than the {error.limit} bytes that are taken"
            await self._refuse(job, Refusal(413, ErrorType.BODY_TOO_LARGE, words))
        except BudgetSpentError:
            words = "the requests under way fill the memory set aside for them; try again later"
            await self._refuse(job, Refusal(503, ErrorType.OVERLOADED, words, "body_budget", 5))
        except StalledError:
            words = f"no byte of the body came for {self._settings.body_stall_seconds:g} s"
            await self._refuse(job, Refusal(408, ErrorType.INVALID_REQUEST, words, "stalled"))

    def _check(self, job: Job, method: str) -> None:
        if method != "POST":
            raise NoTargetError(Refusal(405, ErrorType.METHOD_NOT_ALLOWED, "jobs are sent by POST"))
        if not self.accepting:
            raise NoTargetError(Refusal(503, ErrorType.OVERLOADED, "this orchestrator is stopping", "stopping", 1))
        if (job.declared or 0) > self._settings.max_body_bytes:
            raise BodyTooLargeError(self._settings.max_body_bytes)

    async def _try(self, job: Job, target: Target) -> None:
        lost: list[str] = []
        give_up = time.monotonic() + target.model.start_timeout
        while len(lost) < TRIES:
            slot = await self._broker.take(target.model, target.cost, tuple(lost))
            try:
                await self._forward(job, slot)
            except WorkerFullError:
                if time.monotonic() > give_up:
                    words = "the workers are full with jobs of another orchestrator; try again later"
                    raise RefusedError(Refusal(503, ErrorType.OVERLOADED, words, "worker_full", 5)) from None
                await asyncio.sleep(FULL_PAUSE_SECONDS)  # the slot stays taken meanwhile, as it is
            except WorkerLostError:
                if job.started:
                    job.reason = "worker_lost"
                    raise
                lost.append(slot.endpoint.id)
                if len(lost) < TRIES:
                    self._metrics.retries.labels(target.model.name).inc()
            else:
                return
            finally:
                self._broker.give_back(slot)
        words = "the worker went away before it answered, and so did a second one"
        await self._refuse(job, Refusal(502, ErrorType.WORKER_LOST, words, retry_after=5))

    async def _forward(self, job: Job, slot: Slot) -> None:
        """One try on one worker. Raises WorkerLostError and WorkerFullError; before the first byte the job may go elsewhere."""
        whole = job.body.in_memory()
        content = whole if whole is not None else job.body.chunks
        answer = await self._upstream.post(slot.endpoint.address, job.path.route, _onward(job), content, job.declared)
        try:
            body = await self._refusal(answer) if answer.status == _REFUSED else b""
            job.told += _about(slot)
            await self._answer(job, answer, body)
            slot.served = True
        finally:
            self._upstream.release(answer)

    async def _refusal(self, answer: Answer) -> bytes:
        """A worker that took no job says so in a short 500; it must not reach the caller, who may be served elsewhere."""
        length = dict(answer.headers).get(b"content-length", b"")
        if not length.isdigit() or int(length) > _SHORT:
            return b""
        body = await answer.everything()
        if _FULL in body:
            raise WorkerFullError
        if _DRAINING in body:
            message = "the worker is on its way out"
            raise WorkerLostError(message)
        return body

    async def _answer(self, job: Job, answer: Answer, body: bytes) -> None:
        head = [header for header in answer.headers if header[0] in _PASSED_BACK]
        head += job.told
        job.status, job.started, job.reason = answer.status, True, "answered"
        await job.send({"type": "http.response.start", "status": answer.status, "headers": head})
        part = body or await answer.read()
        while not answer.done:
            await job.send({"type": "http.response.body", "body": part, "more_body": True})
            part = await answer.read()
        await job.send({"type": "http.response.body", "body": part})

    async def _refuse(self, job: Job, refusal: Refusal) -> None:
        job.status, job.reason = refusal.status, refusal.code or refusal.kind.value
        await send_refusal(job.send, refusal, job.told)


def _declared(headers: Mapping[bytes, bytes]) -> int | None:
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else None


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's own id for the request, where it is a sane one, else a new one."""
    given = headers.get(_REQUEST_ID)
    return given.decode() if given and _SANE_ID.fullmatch(given) else f"{_PROCESS}-{next(_NUMBERS):08x}"


def _onward(job: Job) -> list[tuple[bytes, bytes]]:
    """What the worker is told beside the body."""
    headers = [(name, job.headers[name]) for name in _PASSED_ON if name in job.headers]
    headers.append((_SENT_ID, job.request_id.encode()))
    if FACTS[job.path.pipeline].produces is Media.VIDEO:
        headers.append((HEADER_OUTPUT_FORMAT.encode(), b"mp4"))
    return headers


def _about(slot: Slot) -> list[tuple[bytes, bytes]]:
    """What the caller is told about how the job was served."""
    queued = b"%d" % round(slot.waited * 1000) if slot.waited else b"0"
    told = [(_WORKER, slot.endpoint.id.encode()), (_QUEUE_MS, queued)]
    if slot.cold:
        told.append((_COLD_START, b"true"))
    return told
