"""From an HTTP request to a task: the body within bounds, its fields, its image, the model's limits."""

import secrets
import time
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from stoker_contracts.jobs import MAX_SEED, REQUESTS, ImageToImage, Job, JobLimits, PromptedJob
from stoker_contracts.names import HEADER_OUTPUT_FORMAT, HEADER_TIMEOUT
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_contracts.uploads import MAX_UPLOAD_BYTES
from stoker_worker.app.bodies import BadRequestError, form, whole, within
from stoker_worker.app.settings import Settings
from stoker_worker.encoding.decoders import Decoders
from stoker_worker.encoding.uploads import UploadError
from stoker_worker.engine.protocol import Task

MAX_JSON_BYTES = 256 * 1024
MAX_FIELDS = 32
MAX_FORM_BYTES = MAX_UPLOAD_BYTES + 2**20
"""A form with the largest image and its fields."""
_LONGEST_TIMEOUT = 86400.0


async def read_task(request: Request, settings: Settings, limits: JobLimits, decoders: Decoders) -> Task:
    """The task that `request` asks for. Raises BadRequestError, DecodersError and pydantic's ValidationError."""
    deadline = _deadline(request.headers.get(HEADER_TIMEOUT), time.monotonic())
    pipeline = settings.pipeline
    fields, upload = await (_form if FACTS[pipeline].takes_image else _json)(request, settings.body_stall_seconds)
    if pipeline is Pipeline.IMAGE_TO_VIDEO and request.headers.get(HEADER_OUTPUT_FORMAT):
        fields.setdefault("output_format", request.headers[HEADER_OUTPUT_FORMAT])
    job = REQUESTS[pipeline].model_validate(fields)
    _check_model(job, settings.model_id)
    if isinstance(job, PromptedJob) and not job.prompt:
        message = "Prompt must be provided."
        raise BadRequestError(message)
    try:
        image = await decoders.decode(upload) if upload is not None else None
    except UploadError as error:
        raise BadRequestError(str(error)) from error
    size = image.size if image is not None and isinstance(job, ImageToImage) else None
    refusal = limits.refusal(job, size)
    if refusal is not None:
        raise BadRequestError(refusal)
    return Task(job, job.seed if job.seed is not None else secrets.randbelow(MAX_SEED + 1), image, deadline)


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


async def _json(request: Request, stall: float) -> tuple[dict[str, Any], None]:
    body = await whole(within(request, MAX_JSON_BYTES, stall))
    try:
        fields = orjson.loads(body)
    except (ValueError, RecursionError):
        message = "the body must be JSON in UTF-8"
        raise BadRequestError(message) from None
    if not isinstance(fields, dict):
        message = "the body must be a JSON object"
        raise BadRequestError(message)
    return fields, None


async def _form(request: Request, stall: float) -> tuple[dict[str, Any], bytes]:
    """The fields and the file `image` of a multipart body."""
    async with form(within(request, MAX_FORM_BYTES, stall), MAX_FIELDS, MAX_JSON_BYTES) as parts:
        fields = {key: value for key, value in parts.items() if isinstance(value, str)}
        file = parts.get("image")
        if not isinstance(file, UploadFile):
            message = "image must be sent as a file in multipart/form-data"
            raise BadRequestError(message)
        return fields, await file.read(MAX_UPLOAD_BYTES + 1)


def problems(error: ValidationError) -> list[dict[str, Any]]:
    """Pydantic's findings as Livepeer's clients know them: where, what, which kind. The caller's values are left out."""
    return [
        {"loc": ["body", *found["loc"]], "msg": found["msg"], "type": found["type"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
