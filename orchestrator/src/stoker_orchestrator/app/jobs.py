"""The job path: a raw ASGI application, with no framework between the caller and the worker.

A request is identified from its head, waits for a slot, and is streamed to a worker; the answer is streamed back. A worker that
is lost before the first byte of its answer costs a second try on another one, with the same body.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

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
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.replies import send_refusal
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.app.target import NoTargetError, Path, Target, find_target
from stoker_orchestrator.domain.admission import Refusal

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 2
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_PASSED_ON = frozenset({b"content-type", b"accept", b"content-length"})
_PASSED_BACK = frozenset({b"content-type", b"content-length", b"stoker-seed"})
_NOT_TAKEN = (b'"worker_draining"', b'"worker_full"')
_SHORT = 4096
"""A worker's own refusal is shorter than this."""


@dataclass(slots=True)
class Job:
    """One request on its way. `started` once the caller has the head of an answer: from then on nothing else can be said."""

    path: Path
    headers: Mapping[bytes, bytes]
    body: Body
    send: Send
    request_id: str
    told: dict[str, str] = field(default_factory=dict)
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
        self.in_flight = 0
        self.accepting = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Path) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        settings = self._settings
        body = Body(receive, settings.max_body_bytes, self._budget, settings.body_stall_seconds)
        job = Job(path, headers, body, send, _request_id(headers))
        job.told[HEADER_REQUEST_ID] = job.request_id
        self.in_flight += 1
        try:
            await self._serve(job, scope["method"])
        except CallerGoneError:
            job.status, job.reason = 499, "caller_gone"
        finally:
            self.in_flight -= 1
            await body.close()
            self._metrics.jobs.labels(job.model, str(job.status), job.reason).inc()
            log.info("job %s model=%s status=%d reason=%s", job.request_id, job.model, job.status, job.reason)

    async def _serve(self, job: Job, method: str) -> None:
        try:
            self._check(job, method)
            await job.body.start()
            target = await find_target(self._broker.registry, job.path, job.headers, job.body)
            job.model = target.model.name
            job.told[HEADER_MODEL] = target.model.name
            await self._try(job, target)
        except (NoTargetError, RefusedError) as error:
            await self._refuse(job, error.refusal)
        except BodyTooLargeError:
            words = f"the body is larger than the {self._settings.max_body_bytes} bytes that are taken"
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
        declared = job.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._settings.max_body_bytes:
            raise BodyTooLargeError

    async def _try(self, job: Job, target: Target) -> None:
        met: list[str] = []
        for attempt in range(1, TRIES + 1):
            try:
                async with contextlib.AsyncExitStack() as stack:
                    entering = stack.enter_async_context(self._broker.slot(target.model, target.cost, tuple(met)))
                    slot = await _unless_gone(job.body, entering)
                    met.append(slot.endpoint.id)
                    await self._forward(job, slot)
                    return
            except WorkerLostError:
                if job.started:
                    job.reason = "worker_lost"
                    raise
                if attempt < TRIES:
                    self._metrics.retries.labels(target.model.name).inc()
        words = "the worker went away before it answered, and so did a second one"
        await self._refuse(job, Refusal(502, ErrorType.WORKER_LOST, words, retry_after=5))

    async def _forward(self, job: Job, slot: Slot) -> None:
        """One try on one worker. Raises WorkerLostError; before the first byte the job may go elsewhere."""
        whole = job.body.in_memory()
        content = whole if whole is not None else job.body.chunks()
        async with contextlib.AsyncExitStack() as stack:
            posting = self._upstream.post(slot.endpoint.address, job.path.route, _onward(job), content)
            answer = await _unless_gone(job.body, stack.enter_async_context(posting))
            first = await self._first_bytes(answer)
            job.told |= _about(slot)
            await self._answer(job, answer, first)
            slot.served = True

    async def _first_bytes(self, answer: Answer) -> bytes | None:
        """A worker that took no job says so in a short 500; it must not reach the caller, who may be served elsewhere."""
        length = dict(answer.headers).get(b"Content-Length", dict(answer.headers).get(b"content-length", b""))
        if answer.status != 500 or not length.isdigit() or int(length) > _SHORT:  # noqa: PLR2004
            return None
        body = await answer.whole()
        if any(mark in body for mark in _NOT_TAKEN):
            message = "the worker took no job"
            raise WorkerLostError(message)
        return body

    async def _answer(self, job: Job, answer: Answer, body: bytes | None) -> None:
        head = [(name.lower(), value) for name, value in answer.headers if name.lower() in _PASSED_BACK]
        head += [(name.lower().encode(), value.encode()) for name, value in job.told.items()]
        job.status, job.started, job.reason = answer.status, True, "answered"
        await job.send({"type": "http.response.start", "status": answer.status, "headers": head})
        if body is None:
            async for chunk in answer.body():
                await job.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await job.send({"type": "http.response.body", "body": body or b""})

    async def _refuse(self, job: Job, refusal: Refusal) -> None:
        job.status, job.reason = refusal.status, refusal.code or refusal.kind.value
        await send_refusal(job.send, refusal, job.told)


async def _unless_gone(body: Body, work: Awaitable[T]) -> T:
    """The outcome of `work`, unless the caller hangs up first; then `work` is cancelled and CallerGoneError raised."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(body))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        watching.result()
        raise CallerGoneError
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await working


async def _gone(body: Body) -> None:
    """Return when the caller hangs up; raises what goes wrong with the body before that."""
    await body.finished()
    await body.hang_up()


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(HEADER_REQUEST_ID.lower().encode(), b"")
    return given.decode() if _SANE_ID.fullmatch(given) else secrets.token_hex(8)


def _onward(job: Job) -> list[tuple[str, str]]:
    """What the worker is told beside the body."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in job.headers.items() if name in _PASSED_ON]
    headers.append((HEADER_REQUEST_ID, job.request_id))
    if FACTS[job.path.pipeline].produces is Media.VIDEO:
        headers.append((HEADER_OUTPUT_FORMAT, "mp4"))
    return headers


def _about(slot: Slot) -> dict[str, str]:
    """What the caller is told about how the job was served."""
    told = {HEADER_WORKER: slot.endpoint.id, HEADER_QUEUE_MS: str(round(slot.waited * 1000))}
    return told | ({HEADER_COLD_START: "true"} if slot.cold else {})
