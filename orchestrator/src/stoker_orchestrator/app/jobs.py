"""The job path: a raw ASGI application, with no framework between the caller and the worker.

A request is identified from its head, waits for a slot, and is streamed to a worker; the answer is streamed back. A worker that
is lost before the first byte of its answer costs a second try on another one, with the same body.
"""

import hashlib
import itertools
import re
import secrets
from collections.abc import Mapping

from stoker_contracts.errors import ErrorType
from stoker_contracts.names import HEADER_MODEL, HEADER_REQUEST_ID, HEADER_TIMEOUT
from stoker_orchestrator.adapters.upstream import Upstream
from stoker_orchestrator.app.asgi import Receive, Scope, Send
from stoker_orchestrator.app.attempts import Attempts
from stoker_orchestrator.app.body import Body, BodyTooLargeError, Budget, BudgetSpentError, CallerGoneError, StalledError
from stoker_orchestrator.app.broker import Broker
from stoker_orchestrator.app.caller import CallerWatch
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.forwarding import Forwarder
from stoker_orchestrator.app.job import Job
from stoker_orchestrator.app.job_log import JobLog
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.replies import bad_request
from stoker_orchestrator.app.settings import Settings
from stoker_orchestrator.app.target import NoTargetError, Path, find_target
from stoker_orchestrator.app.timers import CoarseTimers
from stoker_orchestrator.domain.admission import Refusal

_REQUEST_ID, _MODEL, _TIMEOUT = (name.lower().encode() for name in (HEADER_REQUEST_ID, HEADER_MODEL, HEADER_TIMEOUT))
_LONGEST_TIMEOUT = 86400.0
_PROCESS, _NUMBERS = secrets.token_hex(4), itertools.count()
"""Request ids are unique, not secret: this process, and the number of the request."""
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class JobRoutes:
    """The ASGI application of all job routes."""

    def __init__(self, broker: Broker, upstream: Upstream, settings: Settings, metrics: Metrics) -> None:
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._budget = Budget(settings.body_budget_bytes)
        self._timers = CoarseTimers()
        self._attempts = Attempts(broker, Forwarder(upstream), metrics, self._timers)
        self.log = JobLog()
        self.in_flight = 0
        self.accepting = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Path) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        settings = self._settings
        body = Body(receive, settings.max_body_bytes, self._budget, settings.body_stall_seconds, self._timers)
        identity = request_id(headers)
        told = [(_REQUEST_ID, identity.encode())]
        job = Job(path, headers, body, send, identity, _declared(headers), told, _caller(scope, headers))
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
                await self._attempts.serve(job, target)
        except (NoTargetError, RefusedError) as error:
            await job.refuse(error.refusal)
        except BodyTooLargeError as error:
            words = f"the body is larger than the {error.limit} bytes that are taken"
            await job.refuse(Refusal(413, ErrorType.BODY_TOO_LARGE, words))
        except BudgetSpentError:
            words = "the requests under way fill the memory set aside for them; try again later"
            await job.refuse(Refusal(503, ErrorType.OVERLOADED, words, "body_budget", 5))
        except StalledError:
            words = f"no byte of the body came for {self._settings.body_stall_seconds:g} s"
            await job.refuse(Refusal(408, ErrorType.INVALID_REQUEST, words, "stalled"))

    def _check(self, job: Job, method: str) -> None:
        if method != "POST":
            raise NoTargetError(Refusal(405, ErrorType.METHOD_NOT_ALLOWED, "jobs are sent by POST"))
        if not self.accepting:
            raise NoTargetError(Refusal(503, ErrorType.OVERLOADED, "this orchestrator is stopping", "stopping", 1))
        if _TIMEOUT in job.headers:
            job.timeout = _timeout(job.headers[_TIMEOUT])
        if (job.declared or 0) > self._settings.max_body_bytes:
            raise BodyTooLargeError(self._settings.max_body_bytes)


def _caller(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """What tells callers apart: the key that they show, else their address."""
    key = headers.get(b"authorization")
    if key is not None:
        return hashlib.blake2b(key, digest_size=12).hexdigest()
    client = scope.get("client")
    return client[0] if client else ""


def _timeout(given: bytes) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        words = f"{HEADER_TIMEOUT} must be a number of seconds, more than 0 and at most {_LONGEST_TIMEOUT:g}"
        raise NoTargetError(bad_request(words))
    return seconds


def _declared(headers: Mapping[bytes, bytes]) -> int | None:
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else None


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's own id for the request, where it is a sane one, else a new one."""
    given = headers.get(_REQUEST_ID)
    return given.decode() if given and _SANE_ID.fullmatch(given) else f"{_PROCESS}-{next(_NUMBERS):08x}"
