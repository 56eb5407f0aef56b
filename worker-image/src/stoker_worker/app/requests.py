"""From an HTTP request to a task: the body within bounds, its fields, its image, the model's limits."""

import asyncio
import secrets
import time
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from stoker_contracts.jobs import MAX_SEED, MAX_UPLOAD_BYTES, REQUESTS, ImageToImage, Job, JobLimits
from stoker_contracts.names import HEADER_OUTPUT_FORMAT, HEADER_TIMEOUT
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_worker.encoding.uploads import UploadError, decode_upload
from stoker_worker.engine.protocol import Task

MAX_JSON_BYTES = 256 * 1024
MAX_FIELDS = 32
MAX_FORM_BYTES = MAX_UPLOAD_BYTES + 2**20
"""A form with the largest image and its fields."""
_LONGEST_TIMEOUT = 86400.0


class BadRequestError(Exception):
    """The request is refused with a 400 and these words."""


async def read_task(request: Request, pipeline: Pipeline, model_id: str, limits: JobLimits) -> Task:
    """The task that `request` asks for. Raises BadRequestError and pydantic's ValidationError."""
    deadline = _deadline(request.headers.get(HEADER_TIMEOUT), time.monotonic())
    fields, upload = await (_form(request) if FACTS[pipeline].takes_image else _json(request))
    if pipeline is Pipeline.IMAGE_TO_VIDEO and request.headers.get(HEADER_OUTPUT_FORMAT):
        fields.setdefault("output_format", request.headers[HEADER_OUTPUT_FORMAT])
    job = REQUESTS[pipeline].model_validate(fields)
    _check_model(job, model_id)
    if getattr(job, "prompt", "-") == "":
        message = "Prompt must be provided."
        raise BadRequestError(message)
    try:
        image = await asyncio.to_thread(decode_upload, upload) if upload is not None else None
    except UploadError as error:
        raise BadRequestError(str(error)) from error
    size = image.size if image is not None and isinstance(job, ImageToImage) else None
    refusal = limits.refusal(job, size)
    if refusal is not None:
        raise BadRequestError(refusal)
    return Task(job, job.seed if job.seed is not None else secrets.randbelow(MAX_SEED - 16), image, deadline)


def _deadline(given: str | None, now: float) -> float | None:
    """When the caller's time is over, where it says so. It runs from when the request has come."""
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        message = f"{HEADER_TIMEOUT} must be a number of seconds, more than 0 and at most {_LONGEST_TIMEOUT:g}"
        raise BadRequestError(message)
    return now + seconds


def _check_model(job: Job, model_id: str) -> None:
    if job.model_id not in ("", model_id):
        message = f"pipeline configured with {model_id} but called with {job.model_id}."
        raise BadRequestError(message)


async def _json(request: Request) -> tuple[dict[str, Any], None]:
    body = await _bounded(request, MAX_JSON_BYTES)
    try:
        fields = orjson.loads(body)
    except (ValueError, RecursionError):
        message = "the body must be JSON in UTF-8"
        raise BadRequestError(message) from None
    if not isinstance(fields, dict):
        message = "the body must be a JSON object"
        raise BadRequestError(message)
    return fields, None


async def _bounded(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in _within(request, limit).stream():
            body += chunk
    except ClientDisconnect:
        message = "the request was not finished"
        raise BadRequestError(message) from None
    return bytes(body)


def _within(request: Request, limit: int) -> Request:
    """The same request, whose body is refused where it goes past `limit`: before it is read where its length is declared."""
    message = f"the body is larger than {limit} bytes"
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BadRequestError(message)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        part = await request.receive()
        taken += len(part.get("body", b""))
        if taken > limit:
            raise BadRequestError(message)
        return part

    return Request(request.scope, receive)


async def _form(request: Request) -> tuple[dict[str, Any], bytes]:
    """The fields and the file `image` of a multipart body."""
    bounds = {"max_files": 1, "max_fields": MAX_FIELDS, "max_part_size": MAX_JSON_BYTES}
    try:
        async with _within(request, MAX_FORM_BYTES).form(**bounds) as form:
            fields = {key: value for key, value in form.items() if isinstance(value, str)}
            file = form.get("image")
            if not isinstance(file, UploadFile):
                message = "image must be sent as a file in multipart/form-data"
                raise BadRequestError(message)
            return fields, await file.read(MAX_UPLOAD_BYTES + 1)
    except (MultiPartException, HTTPException, ClientDisconnect, KeyError, UnicodeDecodeError):
        message = (
            f"the body must be multipart/form-data with one file, image, "
            f"and at most {MAX_FIELDS} fields of at most {MAX_JSON_BYTES} bytes"
        )
        raise BadRequestError(message) from None


def problems(error: ValidationError) -> list[dict[str, Any]]:
    """Pydantic's findings as Livepeer's clients know them: where, what, which kind. The caller's values are left out."""
    return [
        {"loc": ["body", *found["loc"]], "msg": found["msg"], "type": found["type"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
