"""Files that are read and written: mixes, results."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, ValidationError

from stoker_worker.bench.document import VERSION, Result
from stoker_worker.bench.failure import BenchError


def read_mix(file: Path) -> Any:
    """The content of a mix file, YAML or JSON. Raises BenchError where it is neither."""
    import yaml  # noqa: PLC0415 - few benchmarks have a mix

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        message = f"{file.name}{where}: the mix is neither YAML nor JSON."
        raise BenchError(message) from None
    if content is None:
        message = f"{file.name}: the mix is empty."
        raise BenchError(message)
    return content


def read_result(file: Path) -> Result:
    """A result that `stoker-bench run --json` has written. Raises BenchError."""
    message = f"{file.name} is no result of stoker-bench run --json."
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise BenchError(message) from None
    if not isinstance(content, Mapping) or content.get("tool") != "stoker-bench":
        raise BenchError(message)
    if content.get("version") != VERSION:
        message = f"{file.name} was written by another stoker-bench (document version {content.get('version')}, not {VERSION})."
        raise BenchError(message)
    try:
        return Result.model_validate(content)
    except ValidationError:
        raise BenchError(message) from None


def checked_place(_: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """For options that name where a document goes: it must be possible to write there, or minutes are measured for nothing."""
    if value is None or value == "-":
        return value
    file = Path(value)
    if file.is_dir() or not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        message = f"{value} cannot be written"
        raise click.BadParameter(message, param=option)
    return value


def write_json(document: BaseModel, place: str) -> None:
    """To a file, or to standard output where `place` is ``-``."""
    with click.open_file(place, "w", encoding="utf-8") as file:
        file.write(document.model_dump_json(indent=2) + "\n")
