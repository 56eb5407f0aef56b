"""Answers as server-sent events, for callers who ask for them: while their job waits they hear that it does.

Nothing between caller and orchestrator gives up on a connection on which something comes. What goes over it:

``event: waiting`` with ``{"jobs_waiting": …, "estimated_wait_ms": …}``, every ten seconds until there is an answer; then one
``event: result``, or ``event: error``, with ``{"status": …, "headers": {…}, "body": …}``, where the body is the answer's JSON.
Anything else, as proxies before external containers answer it, is a string there, and nothing is null.
"""

import codecs
from collections.abc import Callable, Mapping

import orjson

from stoker_orchestrator.app.replies import Headers, Reply
from stoker_orchestrator.app.timers import CoarseTimers

MEDIA_TYPE = b"text/event-stream"
HEARTBEAT_SECONDS = 10.0
_ERROR = 400
_OWN = (b"stoker-", b"retry-after")
"""Headers of an answer that stand in its event."""


def wants_events(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a caller asks for events."""
    return MEDIA_TYPE in headers.get(b"accept", b"")


class EventStream:
    """Stands before a reply. A job that is refused before anything was said is refused as without events, with its status.

    `waiting` gives what a heartbeat tells. `started` is about the answer, not the stream: until then a job may go elsewhere.
    """

    def __init__(self, reply: Reply, told: Headers, timers: CoarseTimers, waiting: Callable[[], Mapping[str, int]]) -> None:
        self._reply = reply
        self._told = told
        self._timers = timers
        self._waiting = waiting
        self._plain = False
        self._empty = True
        self._text: codecs.IncrementalDecoder | None = None
        self.started = False
        timers.start(self, HEARTBEAT_SECONDS, self._beat)

    def close(self) -> None:
        """Nothing more is said."""
        self._timers.cancel(self)

    # `Reply`.

    @property
    def writable(self) -> bool:
        """Whether the caller keeps up."""
        return self._reply.writable

    def when_writable(self, act: Callable[[], None]) -> None:
        """Call `act` once when the caller has caught up."""
        self._reply.when_writable(act)

    def start(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        self.close()
        self.started = True
        self._plain = status >= _ERROR and not self._reply.started
        if self._plain:
            self._reply.start(status, headers)
            return
        self._open()
        head = orjson.dumps({"status": status, "headers": {name.decode(): value.decode() for name, value in headers if _own(name)}})
        self._text = None if _is_json(headers) else codecs.getincrementaldecoder("utf-8")("replace")
        kind = b"error" if status >= _ERROR else b"result"
        self._reply.write(b'event: %b\ndata: %b,"body":' % (kind, head[:-1]))

    def write(self, data: bytes) -> bool:
        """Some of the body; whether the caller keeps up."""
        return self._reply.write(data if self._plain else self._in_event(data))

    def finish(self, data: bytes = b"") -> None:
        """The last of the body."""
        if not self._plain:
            data = self._in_event(data, last=True) + b"}\n\n"
        self._reply.finish(data)

    def _in_event(self, data: bytes, *, last: bool = False) -> bytes:
        """Some of the body, as it stands in the JSON of the event."""
        if self._empty and not data:
            return b"null" if last else b""
        begins, self._empty = self._empty, False
        if self._text is None:
            return _in_one_event(data)
        quoted = orjson.dumps(self._text.decode(data, last))
        return quoted[0 if begins else 1 : None if last else -1]

    def _open(self) -> None:
        if not self._reply.started:
            head = [(b"content-type", MEDIA_TYPE), (b"cache-control", b"no-store"), *self._told]
            self._reply.start(200, head)

    def _beat(self) -> None:
        self._open()
        if self._reply.writable:
            self._reply.write(b"event: waiting\ndata: %b\n\n" % orjson.dumps(self._waiting()))
        self._timers.start(self, HEARTBEAT_SECONDS, self._beat)


def _own(name: bytes) -> bool:
    return name.startswith(_OWN)


def _is_json(headers: Headers) -> bool:
    kind = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def _in_one_event(data: bytes) -> bytes:
    """JSON may have line breaks between its tokens; a line of an event begins with its field's name."""
    return data.replace(b"\r", b" ").replace(b"\n", b"\ndata: ") if b"\n" in data or b"\r" in data else data
