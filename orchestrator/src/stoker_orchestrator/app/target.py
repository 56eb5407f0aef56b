"""Which model a request asks for: from its path, a header, or the head of its body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker_contracts.names import HEADER_MODEL
from stoker_contracts.pipelines import BY_ROUTE, FACTS, Pipeline
from stoker_orchestrator.adapters.framing import declared_length
from stoker_orchestrator.app.body import MEMORY_BYTES, Body, BodyTooLargeError
from stoker_orchestrator.app.desk import RefusedError
from stoker_orchestrator.app.replies import bad_request, not_found
from stoker_orchestrator.domain.cost import declared_cost
from stoker_orchestrator.domain.job_head import FormHead, MalformedBodyError, json_fields
from stoker_orchestrator.domain.model import Model
from stoker_orchestrator.domain.registry import Registry

_MODEL = HEADER_MODEL.lower().encode()
_MODELS_PREFIX = "/models/"


@dataclass(frozen=True, slots=True)
class Path:
    """A job route: the pipeline, and the resource's name where the path has it."""

    pipeline: Pipeline
    name: str | None = None

    @property
    def route(self) -> str:
        """The worker's route for it."""
        return FACTS[self.pipeline].route


_PLAIN = {route: Path(pipeline) for route, pipeline in BY_ROUTE.items()}


def job_path(path: str) -> Path | None:
    """``/text-to-image`` or ``/models/<resource name>/text-to-image``; None for every other path."""
    plain = _PLAIN.get(path) or _PLAIN.get(path.removesuffix("/"))
    if plain is not None or not path.startswith(_MODELS_PREFIX):
        return plain
    name, _, route = path.removeprefix(_MODELS_PREFIX).removesuffix("/").partition("/")
    return Path(BY_ROUTE[f"/{route}"], name) if f"/{route}" in BY_ROUTE else None


@dataclass(slots=True)
class Target:
    """The model that is meant, and what the job declares to cost."""

    model: Model
    cost: float


async def find_target(registry: Registry, path: Path, headers: Mapping[bytes, bytes], body: Body) -> Target:
    """The target of a request; reads as much of the body as it takes. Raises RefusedError and what the body raises.

    What a job costs is in its body too: a short JSON is waited for, and of a form what stands in front of its file.
    """
    model_id = headers[_MODEL].decode("latin-1") if _MODEL in headers else ""
    model = _model(registry, path, model_id) if path.name is not None or model_id else None
    if FACTS[path.pipeline].takes_image:
        fields: Mapping[str, Any] = await _form_fields(headers, body, named=model is not None)
    else:
        fields = await _json_fields(headers, body, named=model is not None)
    return Target(model or _model(registry, path, _model_id(fields)), declared_cost(path.pipeline, fields))


def target_of_json(registry: Registry, path: Path, whole: bytes) -> Target:
    """The target of a JSON body on a plain route. Raises RefusedError."""
    fields = _json(whole)
    return Target(_model(registry, path, _model_id(fields)), declared_cost(path.pipeline, fields))


def _model_id(fields: Mapping[str, Any]) -> str:
    """The model id of a body; empty where it names none."""
    model_id = fields.get("model_id") or ""
    if not isinstance(model_id, str):
        raise RefusedError(bad_request("model_id must be a string"))
    return model_id


def _json(whole: bytes) -> dict[str, Any]:
    try:
        return json_fields(whole)
    except MalformedBodyError as error:
        raise RefusedError(bad_request(str(error))) from None


async def _json_fields(headers: Mapping[bytes, bytes], body: Body, *, named: bool) -> dict[str, Any]:
    """The fields of a short body. A long one has none where the model is `named` already, and is too long where it is not."""
    length = declared_length(headers)
    if not body.whole and (not named or (length is not None and length <= MEMORY_BYTES)):
        await body.finished()
    whole = body.in_memory()
    if whole is None and not named:
        raise BodyTooLargeError(MEMORY_BYTES)
    return _json(whole) if whole is not None else {}


async def _form_fields(headers: Mapping[bytes, bytes], body: Body, *, named: bool) -> dict[str, str]:
    """Fields in front of the file; all of them where the model is not `named` by then."""
    try:
        head = FormHead(headers.get(b"content-type", b"").decode("latin-1"))
        async for chunk in body.chunks():
            head.feed(chunk)
            if head.in_file and (named or "model_id" in head.fields):
                break
    except MalformedBodyError as error:
        raise RefusedError(bad_request(str(error))) from None
    return head.fields


def _model(registry: Registry, path: Path, model_id: str) -> Model:
    if path.name is not None:
        model = registry.model(path.name)
        if model is None or model.pipeline is not path.pipeline:
            raise RefusedError(not_found(f"no {path.pipeline.value} model has this name; {_choices(registry, path.pipeline)}"))
        return model
    if not model_id:
        return _only_warm(registry, path.pipeline)
    model = registry.find(path.pipeline, model_id)
    if model is None:
        words = f"there is no {path.pipeline.value} model {model_id[:128]!r}; {_choices(registry, path.pipeline)}"
        raise RefusedError(not_found(words))
    return model


def _only_warm(registry: Registry, pipeline: Pipeline) -> Model:
    warm = {model.model_id: model for model in registry.of_pipeline(pipeline) if registry.is_warm(model.name)}
    if len(warm) == 1:
        return next(iter(warm.values()))
    raise RefusedError(bad_request(f"model_id must name a model; {_choices(registry, pipeline)}"))


def _choices(registry: Registry, pipeline: Pipeline) -> str:
    ids = sorted({model.model_id for model in registry.of_pipeline(pipeline)})
    return f"there are: {', '.join(ids)}" if ids else "there are none of this pipeline"
