"""The models config: the list that go-livepeer orchestrators have as ``aiModels.json``, read entry by entry.

Fields and their meaning are go-livepeer's (``core/ai.go``, v0.9.1). One bad entry is refused in words and the others live;
go-livepeer refuses the whole file. Nothing here raises: the outcome is data.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from stoker_contracts.names import MAX_MODEL_ID, Pair, resource_name, resource_names
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.prices import EntryPrice, decimal_of, unit_price
from stoker_contracts.resources.endpoints import MAX_ENDPOINTS
from stoker_contracts.resources.model_deployment import MAX_TOKEN_KEY, TOKEN_KEY_PATTERN
from stoker_contracts.urls import EntryUrl, checked_url
from stoker_contracts.worker import MAX_CAPACITY

MAX_ENTRIES = 500

_KNOWN_KEYS = frozenset({
    "pipeline", "model_id", "url", "token", "token_key", "warm", "capacity",
    "optimization_flags", "gateway", "price_per_unit", "pixels_per_unit", "currency",
})  # fmt: skip
_FLAGS = {"TORCH_COMPILE": "compile", "BFLOAT16": "bfloat16"}
"""Livepeer's optimization flags that Stoker's worker knows, and our names for them."""
_EVERY_GATEWAY = (None, "", "default")
"""What stands in `gateway` where a price is everybody's."""


class EntryReason(StrEnum):
    """Why an entry was refused."""

    NOT_AN_OBJECT = "NotAnObject"
    UNKNOWN_PIPELINE = "UnknownPipeline"
    MODEL_ID_INVALID = "ModelIdInvalid"
    FIELD_INVALID = "FieldInvalid"
    PRICE_INVALID = "PriceInvalid"
    URL_INVALID = "UrlInvalid"
    TOKEN_IN_CONFIG = "TokenInConfig"  # noqa: S105 - a reason, no secret
    TOKEN_KEY_INVALID = "TokenKeyInvalid"  # noqa: S105 - a reason, no secret
    WARM_AND_COLD = "WarmAndCold"
    OURS_AND_EXTERNAL = "OursAndExternal"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model that the config asks for; `name` is the resource's. `indices` are the entries that it was made of."""

    name: str
    pipeline: Pipeline
    model_id: str
    warm: bool
    capacity: int
    urls: tuple[EntryUrl, ...] = ()
    price: EntryPrice | None = None
    optimization: Mapping[str, bool] = field(default_factory=dict)
    indices: tuple[int, ...] = ()

    @property
    def pair(self) -> Pair:
        """Which model it is."""
        return self.pipeline, self.model_id


@dataclass(frozen=True, slots=True)
class Refusal:
    """One entry that is refused, and why. `pipeline` and `model_id` are there as far as they can be read."""

    index: int
    reason: EntryReason
    message: str
    pipeline: Pipeline | None = None
    model_id: str | None = None

    def may_mean(self, model: Pair) -> bool:
        """Whether the entry may speak of this model: what cannot be read of it could be anything."""
        return self.pipeline in (None, model[0]) and self.model_id in (None, model[1])


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about an accepted entry that its author should know."""

    index: int
    message: str


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """What a models config says. With `error` set it could not be read at all, and nothing may be changed because of it."""

    models: tuple[ModelEntry, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    remarks: tuple[Remark, ...] = ()
    error: str | None = None


class _RefusedError(Exception):
    def __init__(self, reason: EntryReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def parse(text: str, *, with_tokens: bool = False) -> ModelsConfig:
    """Read a models config: the JSON list of ``aiModels.json``. `with_tokens`: it is a file whose entries may hold tokens."""
    try:
        entries = json.loads(text, parse_float=decimal_of)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        return ModelsConfig(error=f"the models config is not valid JSON{where}; nothing was changed")
    if not isinstance(entries, list):
        return ModelsConfig(error="the models config must be a JSON list of entries; nothing was changed")
    if len(entries) > MAX_ENTRIES:
        return ModelsConfig(error=f"the models config has {len(entries)} entries; at most {MAX_ENTRIES} are read")
    return _merge(entries, with_tokens=with_tokens)


def _merge(entries: list[Any], *, with_tokens: bool) -> ModelsConfig:
    models: dict[Pair, ModelEntry] = {}
    refusals: list[Refusal] = []
    remarks: list[Remark] = []
    for index, entry in enumerate(entries):
        try:
            pair = _pair(entry)
            model = _read(index, entry, pair, with_tokens=with_tokens)
            first = models.get(pair, model)
            models[pair] = _joined(first, model) if pair in models else model
        except _RefusedError as refused:
            refusals.append(Refusal(index, refused.reason, refused.message, *_readable(entry)))
        else:
            remarks.extend(Remark(index, message) for message in (*_remarks(entry), *_overruled(first, model)))
    names = resource_names(models, held={})
    named = tuple(replace(model, name=names[pair]) for pair, model in models.items())
    return ModelsConfig(named, tuple(refusals), tuple(remarks))


def _joined(first: ModelEntry, second: ModelEntry) -> ModelEntry:
    """The same model twice: capacities add up, as go-livepeer has it."""
    if first.warm != second.warm:
        raise _RefusedError(EntryReason.WARM_AND_COLD, f"{second.model_id} is listed as warm and as cold; choose one")
    if bool(first.urls) != bool(second.urls):
        message = f"{second.model_id} is listed with a url and without one; choose one"
        raise _RefusedError(EntryReason.OURS_AND_EXTERNAL, message)
    if len(first.urls) >= MAX_ENDPOINTS:
        raise _RefusedError(EntryReason.FIELD_INVALID, f"{second.model_id} has {MAX_ENDPOINTS} urls already; more are not taken")
    capacity = min(first.capacity + second.capacity, MAX_CAPACITY)
    return replace(first, capacity=capacity, urls=first.urls + second.urls, indices=first.indices + second.indices)


def _overruled(first: ModelEntry, second: ModelEntry) -> Iterator[str]:
    """What a further entry of a model says in vain."""
    for key, former, latter in (
        ("price", first.price, second.price),
        ("optimization_flags", first.optimization, second.optimization),
    ):
        if latter and latter != former:
            yield f"the {key} of the model's first entry holds; what this entry says has no effect"


def _pair(entry: object) -> Pair:
    if not isinstance(entry, dict):
        raise _RefusedError(EntryReason.NOT_AN_OBJECT, "an entry must be a JSON object with pipeline and model_id")
    return _pipeline(entry), _model_id(entry)


def _readable(entry: object) -> tuple[Pipeline | None, str | None]:
    """As much of its pair as an entry says in a way that can be read."""
    if not isinstance(entry, dict):
        return None, None
    pipeline: Pipeline | None = None
    model_id: str | None = None
    with suppress(_RefusedError):
        pipeline = _pipeline(entry)
    with suppress(_RefusedError):
        model_id = _model_id(entry)
    return pipeline, model_id


def _read(index: int, entry: Mapping[str, Any], pair: Pair, *, with_tokens: bool) -> ModelEntry:
    if entry.get("token") and not with_tokens:
        message = "a token does not belong into a ConfigMap; put it into the release's token Secret and name its key in token_key"
        raise _RefusedError(EntryReason.TOKEN_IN_CONFIG, message)
    capacity = _capacity(entry)
    token_key = _token_key(entry)
    url = _url(entry, capacity, token_key)
    return ModelEntry(
        name=resource_name(*pair),
        pipeline=pair[0],
        model_id=pair[1],
        warm=_boolean(entry, "warm"),
        capacity=capacity,
        urls=(url,) if url else (),
        price=_price(entry),
        optimization=_optimization(entry),
        indices=(index,),
    )


def _pipeline(entry: Mapping[str, Any]) -> Pipeline:
    try:
        return Pipeline(str(entry.get("pipeline")))
    except ValueError:
        known = ", ".join(Pipeline)
        raise _RefusedError(EntryReason.UNKNOWN_PIPELINE, f"pipeline must be one of {known}") from None


def _model_id(entry: Mapping[str, Any]) -> str:
    model_id = entry.get("model_id")
    if not isinstance(model_id, str) or not model_id.strip():
        raise _RefusedError(EntryReason.MODEL_ID_INVALID, "model_id must name a model")
    if len(model_id) > MAX_MODEL_ID:
        raise _RefusedError(EntryReason.MODEL_ID_INVALID, f"model_id may have at most {MAX_MODEL_ID} characters")
    if not model_id.isprintable():
        raise _RefusedError(EntryReason.MODEL_ID_INVALID, "model_id must be made of printable characters")
    return model_id


def _boolean(entry: Mapping[str, Any], key: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise _RefusedError(EntryReason.FIELD_INVALID, f"{key} must be true or false")
    return value


def _capacity(entry: Mapping[str, Any]) -> int:
    """Jobs at once; 0 and absence mean 1 (go-livepeer)."""
    value = entry.get("capacity", 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_CAPACITY:
        raise _RefusedError(EntryReason.FIELD_INVALID, f"capacity must be a whole number from 0 to {MAX_CAPACITY}")
    return value or 1


def _url(entry: Mapping[str, Any], capacity: int, token_key: str | None) -> EntryUrl | None:
    if entry.get("url", "") == "":
        return None
    try:
        url = checked_url(entry["url"])
    except ValueError as error:
        raise _RefusedError(EntryReason.URL_INVALID, str(error)) from None
    token = entry.get("token") or ""
    if not isinstance(token, str) or not token.isprintable():
        raise _RefusedError(EntryReason.FIELD_INVALID, "token must be a string of printable characters")
    return EntryUrl(url, capacity, token_key, token)


def _token_key(entry: Mapping[str, Any]) -> str | None:
    key = entry.get("token_key")
    if key is None:
        return None
    if not isinstance(key, str) or len(key) > MAX_TOKEN_KEY or re.fullmatch(TOKEN_KEY_PATTERN, key) is None:
        raise _RefusedError(EntryReason.TOKEN_KEY_INVALID, "token_key must be a key of the release's token Secret")
    return key


def _price(entry: Mapping[str, Any]) -> EntryPrice | None:
    if "price_per_unit" in entry and entry.get("gateway") not in _EVERY_GATEWAY:
        message = "a price for one gateway is not supported, and would be shown to everybody; leave gateway out, or the price"
        raise _RefusedError(EntryReason.PRICE_INVALID, message)
    try:
        return unit_price(entry)
    except ValueError as error:
        raise _RefusedError(EntryReason.PRICE_INVALID, str(error)) from None


def _optimization(entry: Mapping[str, Any]) -> dict[str, bool]:
    flags = entry.get("optimization_flags", {})
    if not isinstance(flags, dict):
        raise _RefusedError(EntryReason.FIELD_INVALID, "optimization_flags must be an object of flags")
    wrong = [name for name, value in flags.items() if not isinstance(value, bool | str)]
    if wrong:
        raise _RefusedError(EntryReason.FIELD_INVALID, "an optimization flag must be true, false or a string")
    return {_FLAGS[name]: str(value).lower() not in ("false", "0", "") for name, value in flags.items() if name in _FLAGS}


def _remarks(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in ("token", "token_key"):
        if entry.get(key) and not entry.get("url"):
            yield f"{key} has no effect without a url"
    for key in sorted(entry.keys() - _KNOWN_KEYS):
        yield f"the key {key[:64]!r} is not known and has no effect"
    for flag in sorted(entry.get("optimization_flags", {}).keys() - _FLAGS.keys()):
        yield f"the optimization flag {flag[:64]!r} is not known and has no effect; known: {', '.join(_FLAGS)}"
