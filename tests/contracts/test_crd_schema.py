from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel, Field, ValidationError

from stoker_contracts.resources.model_deployment import ModelDeployment
from tests.support.instances import instances
from tools import crds

SCHEMA = crds.model_deployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def structural(model: type[BaseModel]) -> dict[str, Any]:
    emitted = model.model_json_schema()
    return crds.structural(emitted, emitted.get("$defs", {}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(instances(ModelDeployment))
def test_every_model_instance_validates_against_the_generated_schema(instance: dict[str, Any]) -> None:
    wire = ModelDeployment.model_validate(instance).model_dump(mode="json", by_alias=True, exclude_none=True)

    jsonschema.Draft4Validator(SCHEMA).validate(wire)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pipeline",), "text-to-text"),
        (("modelId",), ""),
        (("capacity",), 0),
        (("replicas",), -1),
        (("scaling", "idleAfter"), "soon"),
        (("gpu", "memory"), "24 GB"),
        (("gpu", "count"), -1),
        (("price", "perUnit"), "-1"),
        (("external", "endpoints"), []),
    ],
)
def test_the_generated_schema_refuses_what_the_model_refuses(path: tuple[str, ...], value: object) -> None:
    spec: dict[str, Any] = {"pipeline": "text-to-image", "modelId": "a/b"}
    if path[0] == "price":
        spec["price"] = {"perUnit": "1"}
    place = spec
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = value

    with pytest.raises(ValidationError):
        ModelDeployment.model_validate({"spec": spec})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate({"spec": spec})


def test_the_committed_files_are_what_the_generator_writes() -> None:
    for place in crds.PLACES:
        for name, text in crds.rendered().items():
            assert (place / name).read_text() == text


def test_optional_values_lose_their_null_branch() -> None:
    class Model(BaseModel):
        number: int | None = None

    assert structural(Model)["properties"]["number"] == {"type": "integer", "format": "int64"}


def test_exclusive_bounds_become_booleans() -> None:
    class Model(BaseModel):
        number: float = Field(gt=0)

    assert structural(Model)["properties"]["number"] == {"type": "number", "minimum": 0, "exclusiveMinimum": True}


def test_a_union_is_refused_with_the_name_of_its_field() -> None:
    class Model(BaseModel):
        either: int | str

    with pytest.raises(crds.SchemaError, match=r"\.either: a union"):
        structural(Model)


def test_a_keyword_without_a_place_is_refused_with_the_name_of_its_field() -> None:
    class Model(BaseModel):
        pair: tuple[int, str]

    with pytest.raises(crds.SchemaError, match=r"\.pair: prefixItems"):
        structural(Model)


def test_conditions_are_a_map_by_type_so_that_two_writers_can_share_them() -> None:
    conditions = SCHEMA["properties"]["status"]["properties"]["conditions"]

    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_every_string_list_and_map_a_user_writes_is_bounded() -> None:
    unbounded = list(_unbounded(SCHEMA["properties"]["spec"], "spec"))

    assert unbounded == []


def _unbounded(schema: dict[str, Any], where: str) -> Any:
    match schema.get("type"):
        case "string" if "enum" not in schema and "maxLength" not in schema:
            yield where
        case "array":
            if "maxItems" not in schema:
                yield where
            yield from _unbounded(schema["items"], f"{where}[]")
        case "object":
            if "additionalProperties" in schema:
                if "maxProperties" not in schema:
                    yield where
                yield from _unbounded(schema["additionalProperties"], f"{where}[*]")
            for name, child in schema.get("properties", {}).items():
                yield from _unbounded(child, f"{where}.{name}")


def test_kubectl_explain_has_words_for_every_field() -> None:
    assert [path for path, node in fields(SCHEMA) if not node.get("description")] == []


def fields(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, child
        yield from fields(child.get("items", child), here)
