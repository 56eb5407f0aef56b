"""What is reconciled: the keys of the queue, and which of them an event concerns."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stoker_contracts import names


class Scope(StrEnum):
    """The two reconcilers."""

    MODEL = "model"
    MODELS_CONFIGS = "models-configs"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One thing to reconcile: a ModelDeployment by name, or all models configs together."""

    scope: Scope
    name: str = ""

    def __str__(self) -> str:
        return f"{self.scope}/{self.name}" if self.name else str(self.scope)


CONFIGS = Key(Scope.MODELS_CONFIGS)
"""All models configs of the namespace; together, because two may want the same model."""


def of_resource(body: Mapping[str, Any], *, deleted: bool = False) -> tuple[Key, ...]:
    """The keys that a change of a ModelDeployment concerns. Its end may free a name that a models config waits for."""
    metadata = body["metadata"]
    key = Key(Scope.MODEL, metadata["name"])
    from_config = names.LABEL_MODELS_CONFIG in (metadata.get("labels") or {})
    return (key, CONFIGS) if from_config or deleted else (key,)


def of_child(body: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys that a change of a Deployment or a pod concerns."""
    name = (body["metadata"].get("labels") or {}).get(names.LABEL_MODEL_DEPLOYMENT)
    return (Key(Scope.MODEL, name),) if name else ()
