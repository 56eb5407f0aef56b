"""Who answers at a URL: a worker, or an orchestrator; what it has, and what it tells of itself."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from stoker_contracts.capabilities import Capabilities
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import HardwareInfo, HealthState
from stoker_worker.bench.answers import as_object
from stoker_worker.bench.document import Held, ModelLoad
from stoker_worker.bench.failure import BenchError

_EVERY_SECONDS = 0.5
"""How often a worker that loads is asked whether it has loaded."""
_QUICK = 10.0
"""Seconds within which service routes answer."""
_STAGES, _ROWS = "stoker_worker_stage_seconds", "stoker_worker_batch_rows"
_LOAD, _START = "stoker_worker_load_seconds", "stoker_worker_start_seconds"


@dataclass(frozen=True, slots=True)
class Found:
    """Who answers, and with which model."""

    place: Literal["worker", "orchestrator"]
    pipeline: Pipeline
    model_id: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker's metrics say: of each stage the sum of seconds and the count of events, rows and batches, its start."""

    stages: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rows: float = 0.0
    batches: float = 0.0
    load: ModelLoad | None = None


async def find(client: httpx2.AsyncClient, pipeline: Pipeline | None, model_id: str | None) -> Found:
    """Ask who is there. Raises BenchError where nobody is, or nobody with this model."""
    own = await _ask(client, "version")
    if own.status_code == HTTPStatus.OK and {"pipeline", "model_id"} <= as_object(own).keys():
        return _worker(as_object(own), pipeline, model_id)
    offered = await _ask(client, "capabilities")
    if HTTPStatus.UNAUTHORIZED in {offered.status_code, own.status_code}:
        raise unauthorized()
    try:
        document = Capabilities.model_validate(as_object(offered))
    except ValidationError:
        message = f"What answers there is neither a worker nor an orchestrator (HTTP {offered.status_code})."
        raise BenchError(message) from None
    return _orchestrator(document, pipeline or Pipeline.TEXT_TO_IMAGE, model_id)


def unauthorized() -> BenchError:
    """The sentence for a missing or wrong token."""
    return BenchError("A token is asked for. Put it into an environment variable and name that with --token-env.")


async def _ask(client: httpx2.AsyncClient, path: str) -> httpx2.Response:
    try:
        return await client.get(path, timeout=_QUICK)
    except httpx2.TransportError as error:
        if "CERTIFICATE" in str(error):
            message = "The certificate of that URL is not one that this host trusts."
            raise BenchError(message) from None
        message = "Nobody answers at that URL. Is the address right, the port forwarded, the worker started?"
        raise BenchError(message) from None


def _worker(content: Mapping[str, Any], pipeline: Pipeline | None, model_id: str | None) -> Found:
    has, serves = str(content["model_id"]), str(content["pipeline"])
    if serves not in set(Pipeline) or (pipeline is not None and pipeline != serves):
        message = f"The worker there serves {serves}, not {pipeline or 'a pipeline that is known here'}."
        raise BenchError(message)
    if model_id not in (None, has):
        message = f"The worker there has {has}, not {model_id}."
        raise BenchError(message)
    return Found("worker", Pipeline(serves), has, str(content.get("version", "")))


def _orchestrator(document: Capabilities, pipeline: Pipeline, model_id: str | None) -> Found:
    of_pipeline = (capability for capability in document.capabilities if capability.pipeline is pipeline)
    names = [model.model_id for capability in of_pipeline for model in capability.models]
    if model_id in names or (model_id is None and len(names) == 1):
        return Found("orchestrator", pipeline, model_id or names[0])
    there = f"There are: {', '.join(names)}." if names else "There is none at all."
    what = f"There is no {model_id} for {pipeline} at that URL." if model_id else f"Name one {pipeline} model with --model-id."
    message = f"{what} {there}"
    raise BenchError(message)


async def loaded(client: httpx2.AsyncClient, seconds: float) -> None:
    """Wait until a worker's model is loaded, so long at most. Raises BenchError."""
    try:
        async with asyncio.timeout(seconds):
            while (state := as_object(await _ask(client, "health")).get("status")) == HealthState.LOADING:  # noqa: ASYNC110
                await asyncio.sleep(_EVERY_SECONDS)
    except TimeoutError:
        message = f"The worker has not loaded its model within {seconds:g} s; --timeout gives it longer."
        raise BenchError(message) from None
    if state == HealthState.ERROR:
        message = "The worker has failed; its log says why."
        raise BenchError(message)


async def seen(client: httpx2.AsyncClient) -> Seen:
    """The worker's metrics; empty ones where it has none, as Livepeer's runner."""
    try:
        answer = await client.get("metrics", timeout=_QUICK)
        return parsed(answer.text) if answer.status_code == HTTPStatus.OK else Seen()
    except (httpx2.TransportError, ValueError):
        return Seen()


def parsed(exposition: str) -> Seen:
    """What is of use in a worker's exposition. Raises ValueError where it is none."""
    values: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            values.setdefault(sample.name, {})[sample.labels.get("stage", "")] = sample.value
    seconds, counts = values.get(f"{_STAGES}_sum", {}), values.get(f"{_STAGES}_count", {})
    load = values.get(_LOAD, {}).get("")
    return Seen(
        stages={stage: (seconds[stage], counts.get(stage, 0.0)) for stage in seconds},
        rows=values.get(f"{_ROWS}_sum", {}).get("", 0.0),
        batches=values.get(f"{_ROWS}_count", {}).get("", 0.0),
        load=None if load is None else ModelLoad(seconds=load, stages=values.get(_START, {})),
    )


async def cards(client: httpx2.AsyncClient) -> tuple[tuple[str, ...], Held | None]:
    """Names of the worker's cards, and how much of their memory is taken by all who use them; nothing where it has none."""
    try:
        answer = await client.get("hardware/info", timeout=_QUICK)
        found = HardwareInfo.model_validate(as_object(answer)).gpu_info.values()
    except (httpx2.TransportError, ValidationError):
        return (), None
    if not found:
        return (), None
    taken = sum(card.memory_total - card.memory_free for card in found)
    return tuple(card.name for card in found), Held(allocated=taken, reserved=taken)
