"""What a resource type says about itself beyond its fields: CEL rules and printer columns."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule that the API server enforces, and the sentence it answers with."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; priority 1 shows only with ``-o wide``."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


def validated_by(*rules: Rule) -> JsonDict:
    """The JSON schema extension that carries CEL rules."""
    return {"x-kubernetes-validations": [{"rule": each.rule, "message": each.message} for each in rules]}


class Wire(BaseModel):
    """A part of a resource: camelCase outside, frozen, unknown fields dropped as the API server drops them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", protected_namespaces=())

    def wire(self) -> dict[str, Any]:
        """The part as the API server takes it: only what was said, in camelCase."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
