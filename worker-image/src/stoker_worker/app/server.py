"""The worker's HTTP API: the job route of its pipeline and the service routes."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from stoker_contracts.errors import ErrorType, error_body, validation_body
from stoker_contracts.pipelines import FACTS
from stoker_contracts.worker import HardwareInfo, Health, Version
from stoker_worker.app.answers import Answers, failure, json_answer
from stoker_worker.app.bodies import BadRequestError
from stoker_worker.app.connections import break_off
from stoker_worker.app.error_report import report
from stoker_worker.app.limits import job_limits
from stoker_worker.app.metrics import Metrics
from stoker_worker.app.requests import problems, read_task
from stoker_worker.app.scheduler import EngineLostError, NotTakenError, Scheduler
from stoker_worker.app.settings import Settings
from stoker_worker.domain.line import Refusal
from stoker_worker.encoding.decoders import Decoders, DecodersError
from stoker_worker.engine.protocol import Engine, EngineError, OutOfMemoryError, Output, RefusedError, Task

log = logging.getLogger(__name__)

_NOT_TAKEN = {
    Refusal.FULL: ErrorType.WORKER_FULL,
    Refusal.DRAINING: ErrorType.WORKER_DRAINING,
    Refusal.LOADING: ErrorType.MODEL_UNAVAILABLE,
    Refusal.FAILED: ErrorType.WORKER_DRAINING,  # it has lost nothing, and another worker may do it
    Refusal.LATE: ErrorType.DEADLINE_EXCEEDED,
}
_SPARE_READERS = 8
"""Bodies that are read at a time beyond as many as there may be jobs: some of them turn out to be none."""


class JobRoute:
    """Runs one job from request to answer."""

    def __init__(self, settings: Settings, engine: Engine, scheduler: Scheduler, metrics: Metrics, decoders: Decoders) -> None:
        self._settings = settings
        self._engine = engine
        self._scheduler = scheduler
        self._metrics = metrics
        self._limits = job_limits(settings)
        self._decoders = decoders
        self._answers = Answers()
        self._reading = 0

    async def __call__(self, request: Request) -> Response:
        """Answer with the result or, always as JSON, with what went wrong. What nobody can tell of breaks the connection off."""
        try:
            outcome, response = await self._answered(request)
        except EngineLostError:
            break_off(request.scope)
            outcome, response = "failed", Response(status_code=500)
        except asyncio.CancelledError:  # the worker ends and waits no longer, for a body or for an answer to be made
            break_off(request.scope)
            raise
        except Exception as error:  # noqa: BLE001 - every failure must reach the caller as JSON
            outcome, response = _failed(error)
        self._metrics.jobs.labels(outcome).inc()
        return response

    async def _answered(self, request: Request) -> tuple[str, Response]:
        refused = self._unauthorized(request)
        if refused is not None:
            return "unauthorized", refused
        task = await self._read(request)
        output = await self._run(request, task)
        if output is None:
            return "cancelled", Response(status_code=400)
        started = time.monotonic()
        encoded = await self._answers.answer(task, output, request.headers.get("accept", ""), self._engine.lossy)
        self._metrics.stage_seconds.labels("encode").observe(time.monotonic() - started)
        return "done", encoded

    async def _read(self, request: Request) -> Task:
        """Bodies are in memory while they are read, so there are not many at a time. Raises NotTakenError."""
        if self._reading >= self._settings.capacity + _SPARE_READERS:
            raise NotTakenError(Refusal.FULL)
        self._reading += 1
        try:
            return await read_task(request, self._settings, self._limits, self._decoders)
        finally:
            self._reading -= 1

    async def _run(self, request: Request, task: Task) -> Output | None:
        """The job's output; None when the caller hung up first."""
        job = asyncio.ensure_future(self._scheduler.run(task))
        hang_up = asyncio.ensure_future(_hang_up(request))
        try:
            await asyncio.wait((job, hang_up), return_when=asyncio.FIRST_COMPLETED)
            return job.result() if job.done() else None
        finally:
            hang_up.cancel()
            job.cancel()

    def _unauthorized(self, request: Request) -> Response | None:
        token = self._settings.auth_token
        if token is None:
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if secrets.compare_digest(given.encode(), token.get_secret_value().encode()):
            return None
        refused = failure("Invalid bearer token.", ErrorType.UNAUTHORIZED, 401)
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused


def _failed(error: Exception) -> tuple[str, Response]:
    """How a job failed, for the metrics, and the answer that says so."""
    match error:
        case ValidationError():
            found = problems(error)
            words = f"{'.'.join(map(str, found[0]['loc'][1:]))}: {found[0]['msg']}"
            return "invalid", json_answer(validation_body(found, words), 422)
        case BadRequestError() | RefusedError():
            refused = failure(str(error), ErrorType.INVALID_REQUEST, 400)
            if isinstance(error, BadRequestError) and error.close:
                refused.headers["Connection"] = "close"
            return "invalid", refused
        case NotTakenError():
            return "not_taken", failure(error.refusal.value, _NOT_TAKEN[error.refusal], 500)
        case OutOfMemoryError():
            words = "Out of memory. Ask for fewer images or a smaller size."
            return "out_of_memory", failure(words, ErrorType.OUT_OF_MEMORY, 500)
    log.error("a job failed: %s", report(error))
    words = str(error) if isinstance(error, EngineError | DecodersError) else "the model failed"
    return "failed", failure(words, ErrorType.INFERENCE_FAILED, 500)


async def _hang_up(request: Request) -> None:
    """Return when the caller closes the connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(settings: Settings, engine: Engine, scheduler: Scheduler, metrics: Metrics, decoders: Decoders) -> FastAPI:
    """The application; its scheduler must have been started."""
    app = FastAPI(title="Stoker worker", version=settings.stoker_version, redirect_slashes=False)
    route = FACTS[settings.pipeline].route
    job_route = JobRoute(settings, engine, scheduler, metrics, decoders)
    for path in (route, f"{route}/"):
        app.add_api_route(path, _job_endpoint(job_route), methods=["POST"], include_in_schema=path == route)
    _add_service_routes(app, settings, engine, scheduler, metrics)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def _job_endpoint(job_route: JobRoute) -> Callable[[Request], Awaitable[Response]]:
    async def run_job(request: Request) -> Response:
        return await job_route(request)

    return run_job


async def _http_error(_: Request, error: Exception) -> Response:
    """404 and 405 in the same shape as every other error."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    kind = ErrorType.METHOD_NOT_ALLOWED if status == 405 else ErrorType.MODEL_NOT_FOUND  # noqa: PLR2004
    words = "this route takes other methods" if kind is ErrorType.METHOD_NOT_ALLOWED else "this worker has no such route"
    return json_answer(error_body(words, kind), status)


def _add_service_routes(app: FastAPI, settings: Settings, engine: Engine, scheduler: Scheduler, metrics: Metrics) -> None:
    names = {"pipeline": settings.pipeline.value, "model_id": settings.model_id}

    @app.get("/health")
    async def health() -> Response:
        return json_answer(Health(status=scheduler.health()).model_dump())

    @app.get("/live")
    async def live() -> Response:
        return json_answer({"live": True})

    @app.get("/ready")
    async def ready() -> Response:
        readiness = scheduler.readiness()
        return json_answer(readiness.model_dump(), 200 if readiness.ready else 503)

    @app.get("/version")
    async def version() -> Response:
        return json_answer(Version(**names, version=settings.stoker_version, start_seconds=metrics.started).model_dump())

    @app.get("/hardware/info")
    async def hardware_info() -> Response:
        return json_answer(HardwareInfo(**names, gpu_info=engine.hardware()).model_dump())

    @app.get("/hardware/stats")
    async def hardware_stats() -> Response:
        return json_answer(names | {"gpu_stats": engine.utilization()})

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")
