"""The job path, with no framework between the caller and the worker.

A request is identified from its head, waits for a slot, and is streamed to a worker; the answer is streamed back. A worker that
is lost before the first byte of its answer costs a second try on another one, with the same body.
"""

import asyncio
import hashlib
import itertools
import re
import secrets
from collections.abc import Mapping

from stoker_contracts.errors import ErrorType
from stoker_contracts.names import HEADER_MODEL, HEADER_REQUEST_ID, HEADER_TIMEOUT
from stoker_orchestrator.adapters.framing import declared_length
from stoker_orchestrator.adapters.upstream import Upstream, WorkerLostError
from stoker_orchestrator.app.attempts import Attempts, Begun
from stoker_orchestrator.app.body import BodyTooLargeError
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.event_stream import EventStream, wants_events
from stoker_orchestrator.app.express import Express, Flight
from stoker_orchestrator.app.failures import REFUSING, refusal_for
from stoker_orchestrator.app.foreign import Foreign
from stoker_orchestrator.app.forwarding import Forwarder
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.job_log import JobLog
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.replies import bad_request
from stoker_orchestrator.app.serving.exchange import Exchange
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.app.target import Path, Target, find_target
from stoker_orchestrator.app.timers import CoarseTimers
from stoker_orchestrator.domain.admission import Refusal

REQUEST_ID, _MODEL, _TIMEOUT = (name.lower().encode() for name in (HEADER_REQUEST_ID, HEADER_MODEL, HEADER_TIMEOUT))
_LONGEST_TIMEOUT = 86400.0
_PROCESS, _NUMBERS = secrets.token_hex(4), itertools.count()
"""Request ids are unique, not secret: this process, and the number of the request."""
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class JobRoutes:
    """Serves the requests of all job routes."""

    def __init__(self, broker: Broker, upstream: Upstream, foreign: Foreign, settings: Settings, metrics: Metrics) -> None:
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._timers = CoarseTimers()
        self._attempts = Attempts(broker, Forwarder(upstream, foreign), metrics, self._timers)
        self._express = Express(broker, upstream, self._attempts, foreign, self)
        self.log = JobLog()
        self.in_flight = 0

    def begin(self, exchange: Exchange, path: Path) -> None:
        """Serve one request."""
        identity = request_id(exchange.headers)
        if self._express.takes(exchange, path) and self._express.begin(exchange, path, identity):
            self.in_flight += 1
            self._attempts.under_way += 1
        else:
            exchange.spawn(self._serve(exchange, path, identity))

    def landed(self, flight: Flight, status: int, reason: str) -> None:
        """A job on the short way is over."""
        self.in_flight -= 1
        self._attempts.under_way -= 1
        self._count(flight.identity, flight.target.model.name, status, reason)
        flight.exchange.done()

    def detour(self, flight: Flight, begun: Begun) -> None:
        """A job on the short way goes on the long one."""
        self.in_flight -= 1
        self._attempts.under_way -= 1
        flight.exchange.spawn(self._serve(flight.exchange, flight.path, flight.identity, flight.target, begun))

    def _count(self, identity: str, model: str, status: int, reason: str) -> None:
        self._metrics.jobs.ended(model, status, reason)
        self.log.ended(identity, model, status, reason)

    async def _serve(
        self, exchange: Exchange, path: Path, identity: str, target: Target | None = None, begun: Begun | None = None
    ) -> None:
        headers = exchange.headers
        told = [(REQUEST_ID, identity.encode())]
        job = Job(path, headers, exchange.body, exchange, identity, declared_length(headers), told, _caller(exchange))
        self.in_flight += 1
        try:
            if target is None:
                self._check(job, exchange)
                target = await find_target(self._broker.registry, path, headers, job.body)
            job.model = target.model.name
            told.append((_MODEL, target.model.name.encode()))
            if wants_events(headers):
                await self._serve_events(job, target)
            else:
                await self._attempts.serve(job, target, begun)
        except REFUSING as error:
            self._refuse(job, error)
        except WorkerLostError:
            """The answer had begun: it breaks off with the connection."""
        except asyncio.CancelledError as cancellation:
            self._refuse(job, exchange.ended_by(cancellation))
        finally:
            self.in_flight -= 1
            self._count(identity, job.model, job.status, job.reason)

    async def _serve_events(self, job: Job, target: Target) -> None:
        """The same, for a caller who wants to hear that its job waits."""
        plain = job.reply
        job.reply = stream = EventStream(plain, list(job.told), self._timers, lambda: self._line(target.model.name))
        try:
            await self._attempts.serve(job, target)
        except REFUSING as error:
            self._refuse(job, error)
        finally:
            stream.close()

    def _line(self, name: str) -> dict[str, int]:
        """How it stands with a model's line."""
        board = self._broker.switchboard
        wait = board.registry.estimated_wait(name, board.work(name))
        return {"jobs_waiting": board.waiting(name), "estimated_wait_ms": round(wait * 1000)}

    def _refuse(self, job: Job, error: Exception) -> None:
        refusal = refusal_for(error)
        if refusal is None:
            job.status, job.reason = 499, "caller_gone"
        elif not job.started:
            job.refuse(refusal)
            self._metrics.decisions.labels("refuse", job.reason, job.model).inc()

    def _check(self, job: Job, exchange: Exchange) -> None:
        if exchange.method != b"POST":
            raise RefusedError(Refusal(405, ErrorType.METHOD_NOT_ALLOWED, "jobs are sent by POST"))
        if exchange.late:
            raise RefusedError(Refusal(503, ErrorType.OVERLOADED, "this orchestrator is stopping", "stopping", 1))
        if _TIMEOUT in job.headers:
            job.timeout = _timeout(job.headers[_TIMEOUT])
        if job.declared is not None and job.declared > self._settings.max_body_bytes:
            raise BodyTooLargeError(self._settings.max_body_bytes)
        exchange.proceed()


def _caller(exchange: Exchange) -> str:
    """What tells callers apart: the key that they show, else their address."""
    key = exchange.headers.get(b"authorization")
    return hashlib.blake2b(key, digest_size=12).hexdigest() if key is not None else exchange.peer


def _timeout(given: bytes) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        words = f"{HEADER_TIMEOUT} must be a number of seconds, more than 0 and at most {_LONGEST_TIMEOUT:g}"
        raise RefusedError(bad_request(words))
    return seconds


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's own id for the request, where it is a sane one, else a new one."""
    given = headers.get(REQUEST_ID)
    return given.decode() if given and _SANE_ID.fullmatch(given) else f"{_PROCESS}-{next(_NUMBERS):08x}"
