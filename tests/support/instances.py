"""Arbitrary instances of a pydantic model, drawn from the JSON schema that pydantic itself emits."""

from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel


def instances(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that `model` should accept, but for the rules that span several fields."""
    schema = model.model_json_schema(by_alias=True)
    return _values(schema, schema.get("$defs", {}))


def _values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _values(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "anyOf" in schema:
        return st.one_of([_values(each, definitions) for each in schema["anyOf"] if each.get("type") != "null"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        return _objects(schema, definitions)
    if schema["type"] == "array":
        return st.lists(_values(schema["items"], definitions), min_size=schema.get("minItems", 0), max_size=3)
    return _scalars(schema)


def _scalars(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    return _strings(schema)


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    longest = schema.get("maxLength", 64)
    if schema.get("format") == "date-time":
        return st.just("2026-01-02T03:04:05Z")
    if "pattern" in schema:
        pattern = schema["pattern"].removesuffix("$") + r"\Z"
        return st.from_regex(pattern).filter(lambda text: schema.get("minLength", 0) <= len(text) <= longest)
    return st.text(min_size=schema.get("minLength", 0), max_size=min(longest, 16))


def _objects(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        return st.dictionaries(st.text("abc", min_size=1, max_size=4), _values(values, definitions), max_size=3)
    drawn = {name: _values(child, definitions) for name, child in schema.get("properties", {}).items()}
    required = {name: drawn.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(required, optional=drawn)
