"""What is sent: one kind of job, or a mix of kinds with weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from stoker_contracts.jobs import REQUESTS, ImageToImage, ImageToVideo, Job, TextToImage
from stoker_contracts.pipelines import FACTS, Pipeline

PICTURE_SIDE = 512
"""Sides of the picture that image-to-image jobs carry, where nobody says another size."""
_OURS = frozenset({"name", "weight"})
_NOT_HERE = {"seed": "--seed decides", "model_id": "--model-id decides"}


class MixError(ValueError):
    """A mix, or the job that the options describe, is none; the text says which entry and why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs that are alike but for their seed and prompt.

    `weight` is their share of the mix, `size` the (width, height) of the picture that is sent with them. `job` has the fields
    that were said and the defaults of the rest; only the former are sent.
    """

    name: str
    weight: float
    job: Job
    size: tuple[int, int]

    @property
    def rows(self) -> int:
        """Pictures, or videos, that such a job asks for."""
        return self.job.rows

    @property
    def fields(self) -> dict[str, Any]:
        """What was said of the job, as it is sent."""
        return self.job.model_dump(mode="json", exclude_unset=True)


def single(pipeline: Pipeline, fields: Mapping[str, Any]) -> Kind:
    """The one kind of job that the command line describes. Raises MixError."""
    return _kind(pipeline, dict(fields), "job", 1.0, "the job")


def parse_mix(pipeline: Pipeline, content: Any, defaults: Mapping[str, Any]) -> tuple[Kind, ...]:
    """The kinds of a mix; `defaults` fill in what an entry does not say. Raises MixError with the entry's number, from 1."""
    if not isinstance(content, list) or not content:
        message = "a mix is a list with at least one entry, such as [{weight: 3, num_inference_steps: 1}]"
        raise MixError(message)
    kinds = tuple(_entry(pipeline, entry, number, defaults) for number, entry in enumerate(content, 1))
    names = [kind.name for kind in kinds]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"entry {len(names) - names[::-1].index(twice)}: another entry is called {twice} as well"
        raise MixError(message)
    if not any(kind.weight for kind in kinds):
        message = "every weight is 0, so there is nothing to send"
        raise MixError(message)
    return kinds


def _entry(pipeline: Pipeline, entry: Any, number: int, defaults: Mapping[str, Any]) -> Kind:
    where = f"entry {number}"
    if not isinstance(entry, dict):
        message = f"{where}: it must be a mapping of the job's fields, such as {{weight: 3, num_inference_steps: 1}}"
        raise MixError(message)
    weight = entry.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        message = f"{where}: weight must be a number from 0 on"
        raise MixError(message)
    fields = {str(key): value for key, value in entry.items() if key not in _OURS}
    return _kind(pipeline, {**defaults, **fields}, str(entry.get("name", where)), float(weight), where)


def _kind(pipeline: Pipeline, fields: dict[str, Any], name: str, weight: float, where: str) -> Kind:
    known = set(REQUESTS[pipeline].model_fields) - _NOT_HERE.keys() | {"width", "height"}
    for field in fields:
        if field in _NOT_HERE:
            message = f"{where}: {field} cannot be said here, {_NOT_HERE[field]}"
            raise MixError(message)
        if field not in known:
            message = f"{where}: {pipeline} has no field {field}; it has {', '.join(sorted(known))}"
            raise MixError(message)
    try:
        job = REQUESTS[pipeline].model_validate(fields)
        return Kind(name, weight, job, _size(pipeline, job, fields))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        message = f"{where}: {'.'.join(map(str, found['loc']))}: {found['msg']}"
        raise MixError(message) from None


def _size(pipeline: Pipeline, job: Job, fields: Mapping[str, Any]) -> tuple[int, int]:
    """The size of the picture that goes with the job, within the bounds that sides have elsewhere."""
    if isinstance(job, TextToImage | ImageToVideo):
        return job.width, job.height
    assert isinstance(job, ImageToImage) and FACTS[pipeline].takes_image  # noqa: S101, PT018 - the third pipeline
    sides = {key: fields[key] for key in ("width", "height") if key in fields}
    checked = TextToImage.model_validate({"prompt": "", "width": PICTURE_SIDE, "height": PICTURE_SIDE} | sides)
    return checked.width, checked.height
