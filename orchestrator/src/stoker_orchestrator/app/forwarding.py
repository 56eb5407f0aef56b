"""One job to one worker: the request streamed there, the answer streamed back."""

from stoker_contracts.names import (
    HEADER_COLD_START,
    HEADER_OUTPUT_FORMAT,
    HEADER_QUEUE_MS,
    HEADER_REQUEST_ID,
    HEADER_WORKER,
)
from stoker_contracts.pipelines import FACTS, Media
from stoker_orchestrator.adapters.upstream import Answer, Upstream
from stoker_orchestrator.app.desk import Slot
from stoker_orchestrator.app.event_stream import wants_events
from stoker_orchestrator.app.foreign import Foreign, Shown
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.worker_errors import WorkerFullError, WorkerLeavingError
from stoker_orchestrator.domain.switchboard import Outcome

_WORKER, _QUEUE_MS, _COLD_START = (name.lower().encode() for name in (HEADER_WORKER, HEADER_QUEUE_MS, HEADER_COLD_START))
_SENT_ID = HEADER_REQUEST_ID.encode()
_PASSED_ON = frozenset({b"content-type", b"accept"})
_PASSED_BACK = frozenset({b"content-type", b"content-length", b"stoker-seed"})
_REFUSED = 500
_DRAINING, _FULL = b'"worker_draining"', b'"worker_full"'
_SHORT = 4096
"""A worker's own refusal is shorter than this."""


class Forwarder:
    """Carries jobs to workers over kept connections."""

    def __init__(self, upstream: Upstream, foreign: Foreign) -> None:
        self._upstream = upstream
        self._foreign = foreign

    async def forward(self, job: Job, slot: Slot) -> None:
        """One try on one worker. Raises WorkerLostError, WorkerFullError, WorkerLeavingError, RefusedError.

        Before the first byte of an answer the job may go elsewhere.
        """
        whole = job.body.in_memory()
        content = whole if whole is not None else job.body.chunks
        answer = await self._upstream.post(slot.endpoint.address, job.path.route, _onward(job), content, job.declared)
        try:
            body = await self._refusal(answer) if answer.status == _REFUSED else b""
            foreign = not slot.endpoint.pulse and not body
            shown = await self._foreign.translated(job, slot.endpoint, answer) if foreign else answer
            job.told += _about(slot)
            await self._answer(job, shown, body)
            slot.outcome = Outcome.SERVED
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
            raise WorkerLeavingError
        return body

    async def _answer(self, job: Job, answer: Shown, body: bytes) -> None:
        head = [header for header in answer.headers if header[0] in _PASSED_BACK]
        head += job.told
        job.status, job.reason = answer.status, "answered"
        job.reply.start(answer.status, head)
        if body:
            job.reply.finish(body)
        else:
            await answer.pass_to(job.reply)


def _onward(job: Job) -> list[tuple[bytes, bytes]]:
    """What the worker is told beside the body."""
    headers = [(name, job.headers[name]) for name in _PASSED_ON if name in job.headers]
    if wants_events(job.headers):
        headers = [(name, value) for name, value in headers if name != b"accept"]
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
