"""The fields of a job that routing needs, read from the head of its body as it streams by."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

_ROUTING_FIELDS = frozenset({"model_id", "num_inference_steps", "width", "height", "num_images_per_prompt", "strength"})
_MAX_VALUE = 512
"""Bytes of a field that are kept; no routing field is longer."""


class MalformedBodyError(Exception):
    """The body is not what its content type says."""


def json_fields(body: bytes) -> dict[str, Any]:
    """The fields of a JSON body. Raises MalformedBodyError."""
    try:
        fields = orjson.loads(body)
    except ValueError:
        message = "the body must be JSON in UTF-8"
        raise MalformedBodyError(message) from None
    if not isinstance(fields, dict):
        message = "the body must be a JSON object"
        raise MalformedBodyError(message)
    return fields


@dataclass(slots=True)
class _Part:
    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    name: str = ""
    file: bool = False
    value: bytearray = field(default_factory=bytearray)


class FormHead:
    """Reads the `wanted` text fields from a multipart body chunk by chunk; files pass through unseen."""

    def __init__(self, content_type: str, wanted: Collection[str] = _ROUTING_FIELDS) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            message = "the body must be multipart/form-data with a boundary"
            raise MalformedBodyError(message)
        self.fields: dict[str, str] = {}
        self._wanted = wanted
        self._part = _Part()
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    @property
    def in_file(self) -> bool:
        """Whether what was fed ends with a file, or in the middle of one."""
        return self._part.file

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes of the body. Raises MalformedBodyError."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            message = "the body is not well-formed multipart/form-data"
            raise MalformedBodyError(message) from None

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end]

    def _header_end(self) -> None:
        if self._part.header_name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._part.header_value))
            self._part.name = options.get(b"name", b"").decode(errors="replace")
            self._part.file = b"filename" in options
        self._part.header_name.clear()
        self._part.header_value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name in self._wanted and len(self._part.value) < _MAX_VALUE:
            self._part.value += data[start:end]

    def _end(self) -> None:
        if self._part.name in self._wanted:
            self.fields[self._part.name] = self._part.value[:_MAX_VALUE].decode(errors="replace")
