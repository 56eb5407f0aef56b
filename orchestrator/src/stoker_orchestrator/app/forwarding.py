"""One job to one worker: the request streamed there, the answer streamed back."""

from collections.abc import Mapping

from stoker_contracts.names import (
    HEADER_COLD_START,
    HEADER_LOSSY,
    HEADER_MODEL,
    HEADER_NSFW,
    HEADER_OUTPUT_FORMAT,
    HEADER_QUEUE_MS,
    HEADER_REQUEST_ID,
    HEADER_SEED,
    HEADER_TIMEOUT,
    HEADER_WORKER,
)
from stoker_contracts.pipelines import FACTS, Media, Pipeline
from stoker_orchestrator.adapters.upstream import Answer, Pending, Upstream
from stoker_orchestrator.app.desk import Slot
from stoker_orchestrator.app.event_stream import wants_events
from stoker_orchestrator.app.foreign import Foreign, Shown
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.worker_errors import WorkerFullError, WorkerLateError, WorkerLeavingError
from stoker_orchestrator.domain.switchboard import Outcome

_WORKER, _QUEUE_MS, _COLD_START = (name.lower().encode() for name in (HEADER_WORKER, HEADER_QUEUE_MS, HEADER_COLD_START))
_SENT_ID = HEADER_REQUEST_ID.encode()
_ID, MODEL = HEADER_REQUEST_ID.lower().encode(), HEADER_MODEL.lower().encode()
_AS_MP4 = HEADER_OUTPUT_FORMAT.encode() + b": mp4\r\n"
_TIMEOUT = HEADER_TIMEOUT.encode()
_PASSED_ON = (b"content-type", b"accept")
_PASSED_BACK = frozenset({b"content-type", b"content-length"}) | frozenset(
    name.lower().encode() for name in (HEADER_SEED, HEADER_NSFW, HEADER_LOSSY)
)
_OK = 200
REFUSED = 500
"""With this status a worker may say that it took no job."""
_DRAINING, _LOADING, _FULL, _LATE = b'"worker_draining"', b'"model_unavailable"', b'"worker_full"', b'"deadline_exceeded"'
_SHORT = 4096
"""A worker's own refusal is shorter than this."""


class Forwarder:
    """Carries jobs to workers over kept connections."""

    def __init__(self, upstream: Upstream, foreign: Foreign) -> None:
        self._upstream = upstream
        self._foreign = foreign

    async def forward(self, job: Job, slot: Slot, left: float | None, pending: Pending | None = None) -> None:
        """One try on one worker, `pending` where it was begun. `left` are the seconds that the caller still gives the job.

        Raises WorkerLostError, WorkerFullError, WorkerLeavingError, WorkerLateError, RefusedError.

        Before the first byte of an answer the job may go elsewhere.
        """
        answer = await (self._upstream.finish(pending) if pending is not None else self._sent(job, slot, left))
        try:
            body = await self._refusal(job, answer) if answer.status == REFUSED else b""
            foreign = not slot.endpoint.pulse and not body
            shown = await self._foreign.translated(job, slot.endpoint, answer) if foreign else answer
            job.told += about(slot.endpoint.id, slot.waited, cold=slot.cold > 0)
            await self._answer(job, shown, body)
            slot.outcome = outcome_of(answer.status)
        finally:
            self._upstream.release(answer)

    async def _sent(self, job: Job, slot: Slot, left: float | None) -> Answer:
        whole = job.body.in_memory()
        content = whole if whole is not None else job.body.chunks
        headers = onward(job.headers, job.path.pipeline, job.request_id) + self._foreign.shown_to(slot.endpoint)
        if left is not None:
            headers += _within(left)
        return await self._upstream.post(slot.endpoint.address, job.path.route, headers, content, job.declared)

    async def _refusal(self, job: Job, answer: Answer) -> bytes:
        """A worker that took no job says so in a short 500; it must not reach the caller, who may be served elsewhere.

        Nor must one that ran no job because its caller's time was over: it may find so a moment before we do.
        """
        length = dict(answer.headers).get(b"content-length", b"")
        if not length.isdigit() or int(length) > _SHORT:
            return b""
        body = await answer.everything()
        if _FULL in body:
            raise WorkerFullError
        if _DRAINING in body or _LOADING in body:
            raise WorkerLeavingError
        if job.timeout is not None and _LATE in body:
            raise WorkerLateError
        return body

    async def _answer(self, job: Job, answer: Shown, body: bytes) -> None:
        job.status, job.reason = answer.status, "answered"
        job.reply.start(answer.status, passed_back(answer.headers) + job.told)
        if body:
            job.reply.finish(body)
        else:
            await answer.pass_to(job.reply)


def outcome_of(status: int) -> Outcome:
    """What the status of a worker's answer says of the job's time there."""
    return Outcome.SERVED if status == _OK else Outcome.ANSWERED


def onward(given: Mapping[bytes, bytes], pipeline: Pipeline, identity: str) -> bytes:
    """The lines of a head with what the worker is told beside the body."""
    said = b"%b: %b\r\n" % (_SENT_ID, identity.encode())
    for name in _PASSED_ON:
        if name in given and not (name == b"accept" and wants_events(given)):
            said += b"%b: %b\r\n" % (name, given[name])
    return said + _AS_MP4 if FACTS[pipeline].produces is Media.VIDEO else said


def _within(left: float) -> bytes:
    """The line that tells a worker how many seconds are left, in whole milliseconds and never more than there are."""
    milliseconds = int(left * 1000)
    if milliseconds <= 0:  # a worker would not take it for a time
        raise WorkerLateError
    return b"%b: %d.%03d\r\n" % (_TIMEOUT, *divmod(milliseconds, 1000))


def lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def passed_back(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What the caller is told of what the worker said."""
    return [header for header in headers if header[0] in _PASSED_BACK]


def about(endpoint: str, waited: float, *, cold: bool) -> list[tuple[bytes, bytes]]:
    """What the caller is told about how the job was served: by whom, after how many seconds, and whether that had to start."""
    told = [(_WORKER, endpoint.encode()), (_QUEUE_MS, b"%d" % round(waited * 1000))]
    if cold:
        told.append((_COLD_START, b"true"))
    return told


def identified(identity: str) -> bytes:
    """The line of a head that names the request."""
    return b"%b: %b\r\n" % (_ID, identity.encode())
