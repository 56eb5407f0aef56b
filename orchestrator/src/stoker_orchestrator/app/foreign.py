"""What containers of somebody else answer to jobs that our own workers never do, as Livepeer's runner has it.

Frames become a clip. A status that speaks of the container rather than of the job is no answer for its caller: the job goes
elsewhere.
"""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import orjson

from stoker_contracts.errors import ErrorType
from stoker_contracts.names import HEADER_LOSSY
from stoker_contracts.pipelines import FACTS, Media
from stoker_orchestrator.adapters.clips.encoder import Clip, ClipEncoder, UnusableFramesError
from stoker_orchestrator.adapters.connection import Recipient
from stoker_orchestrator.adapters.upstream import Answer, Headers, WorkerLostError
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.event_stream import wants_events
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.worker_errors import WorkerFullError, WorkerLeavingError
from stoker_orchestrator.domain.admission import Refusal
from stoker_orchestrator.domain.health import turned_away
from stoker_orchestrator.domain.job_head import FormHead, MalformedBodyError
from stoker_orchestrator.domain.model import Endpoint

_OK = 200
_BUSY = frozenset({429, 503})
_AWAY = frozenset({502, 504})
"""What a proxy before the container says of it."""
_FRAMES = re.compile(rb'\s*\{\s*"frames"\s*:')
_ENOUGH_BYTES = 64
"""Of an answer, to tell whether it holds frames."""
_FPS, _MOST_FPS = 6, 60
"""Frames a second where the job names none, as Livepeer's runner has it, and the most that our own workers take."""
_FPS_DIGITS = 4
"""No number of frames a second that is meant is longer."""
_MP4 = b"video/mp4"
_LOSSY = (HEADER_LOSSY.lower().encode(), b"h264")


class Shown(Protocol):
    """An answer as the caller gets it."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """Names in lower case."""

    async def pass_to(self, recipient: Recipient) -> None:
        """Give the body to `recipient` as it comes. Raises WorkerLostError when it breaks off."""


@dataclass(slots=True)
class _Begun:
    """An answer whose first bytes were read to see what it is. A whole one of ours has nothing behind them."""

    status: int
    headers: Headers
    head: bytes
    rest: Answer | None = None

    async def pass_to(self, recipient: Recipient) -> None:
        """Give the body to `recipient`."""
        if self.rest is None:
            recipient.finish(self.head)
        else:
            recipient.write(self.head)
            await self.rest.pass_to(recipient)


class Foreign:
    """Shows external containers who sends a job, and makes of their answers what callers expect.

    `barred` is told the endpoint and the status where a container does not let jobs in. `authorization` gives the value of the
    header for an endpoint, or None; it is asked at each job, so that a changed key counts at once.
    """

    def __init__(self, barred: Callable[[str, int], None], authorization: Callable[[str], bytes | None]) -> None:
        self._barred = barred
        self._authorization = authorization
        self._encoder = ClipEncoder()

    def shown_to(self, endpoint: Endpoint) -> bytes:
        """The line of a head that lets a job in; nothing for a worker of ours, or where none is asked for."""
        shown = self._authorization(endpoint.id) if not endpoint.pulse else None
        return b"authorization: %b\r\n" % shown if shown is not None else b""

    async def translated(self, job: Job, endpoint: Endpoint, answer: Answer) -> Shown:
        """The answer for the caller. Raises WorkerLostError, WorkerFullError, WorkerLeavingError, RefusedError."""
        self._check(endpoint, answer.status)
        if answer.status != _OK or FACTS[job.path.pipeline].produces is not Media.VIDEO:
            return answer
        head = b""
        while len(head) < _ENOUGH_BYTES and (part := await answer.read()):
            head += part
        if not _FRAMES.match(head):
            return _Begun(answer.status, answer.headers, head, answer)
        return await self._clip(job, head, answer)

    def _check(self, endpoint: Endpoint, status: int) -> None:
        if status in _BUSY:
            raise WorkerFullError
        if status in _AWAY:
            message = "the container does not answer those who pass its answers on"
            raise WorkerLostError(message, sent=False)
        if turned_away(status):
            self._barred(endpoint.id, status)
            raise WorkerLeavingError

    async def _clip(self, job: Job, head: bytes, answer: Answer) -> Shown:
        async def content() -> AsyncIterator[bytes]:
            yield head
            while part := await answer.read():
                yield part

        try:
            clip = await self._encoder.encode(content(), await _fps(job))
        except UnusableFramesError as error:
            words = f"the frames that the container answered cannot be made into a video: {error}"
            raise RefusedError(Refusal(502, ErrorType.INFERENCE_FAILED, words, "frames_unusable")) from None
        return _shown(clip, as_bytes=_MP4 in job.headers.get(b"accept", b"") and not wants_events(job.headers))


def _shown(clip: Clip, *, as_bytes: bool) -> Shown:
    """As our own workers answer: the bytes where they were asked for, else a data URL."""
    if as_bytes:
        seed = (b"stoker-seed", b"%d" % clip.seed)
        return _Begun(_OK, [(b"content-type", _MP4), (b"content-length", b"%d" % len(clip.data)), seed, _LOSSY], clip.data)
    item = {"url": f"data:video/mp4;base64,{b64encode(clip.data).decode()}", "seed": clip.seed, "nsfw": clip.nsfw}
    body = orjson.dumps({"images": [item]})
    return _Begun(_OK, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), _LOSSY], body)


async def _fps(job: Job) -> int:
    """What the job's form says, where that is known by now and makes sense."""
    if not job.body.whole:
        return _FPS
    try:
        form = FormHead(job.headers.get(b"content-type", b"").decode("latin-1"), wanted={"fps"})
        async for chunk in job.body.chunks():
            form.feed(chunk)
    except MalformedBodyError:
        return _FPS
    said = form.fields.get("fps", "").strip()
    number = int(said) if said.isdecimal() and len(said) <= _FPS_DIGITS else 0
    return number if 0 < number <= _MOST_FPS else _FPS
