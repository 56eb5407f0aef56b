"""Everything but jobs: capabilities, status, health, metrics. FastAPI, behind the dispatcher."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from stoker_contracts.capabilities import Capabilities
from stoker_contracts.errors import ErrorType, error_body
from stoker_contracts.overview import Overview
from stoker_orchestrator.app.metrics import Metrics
from stoker_orchestrator.app.publisher import Publisher

VERSION = "0.1.0"
HEARTBEAT_SECONDS = 10.0


def create_control(publisher: Publisher, metrics: Metrics, is_ready: Callable[[], bool], look: Callable[[], Overview]) -> FastAPI:
    """The control API over what one publisher tells; `look` makes the document of ``/status``."""
    app = FastAPI(title="Stoker orchestrator", version=VERSION)

    @app.get("/capabilities", response_model=Capabilities, summary="Which models are offered now, and which are warm")
    async def capabilities(
        *, watch: Annotated[bool, Query(description="Server-sent events: the document, then each change.")] = False
    ) -> Response:
        if watch:
            return StreamingResponse(_events(publisher), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return Response(publisher.capabilities().model_dump_json(), media_type="application/json")

    @app.get("/status", response_model=Overview, summary="Models, workers and lines as they are now, for people")
    async def status() -> Response:
        return Response(look().model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})

    @app.get("/healthz", summary="Whether the process works")
    async def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/readyz", summary="Whether the first full list of models and workers has been seen")
    async def readyz() -> JSONResponse:
        ready = is_ready()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics")
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        known = error.status_code == 405  # noqa: PLR2004
        kind = ErrorType.METHOD_NOT_ALLOWED if known else ErrorType.MODEL_NOT_FOUND
        words = "this route takes other methods" if known else "there is no such route; see /openapi.json"
        return JSONResponse(error_body(words, kind), error.status_code)

    return app


async def _events(publisher: Publisher) -> AsyncIterator[str]:
    """The stream of documents, with a comment where nothing changed for a while, so that dead readers are noticed."""
    changes = publisher.changes()
    upcoming = asyncio.ensure_future(anext(changes))
    try:
        while True:
            done, _ = await asyncio.wait((upcoming,), timeout=HEARTBEAT_SECONDS)
            if not done:
                yield ": still here\n\n"
                continue
            document = upcoming.result()
            upcoming = asyncio.ensure_future(anext(changes))
            yield f"id: {document.generation}\nevent: capabilities\ndata: {document.model_dump_json()}\n\n"
    finally:
        upcoming.cancel()
