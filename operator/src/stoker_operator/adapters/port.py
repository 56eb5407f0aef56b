"""What the reconcilers need of the Kubernetes API, in plain dictionaries. All of it concerns one namespace."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

Json = dict[str, Any]


class Kind(StrEnum):
    """The kinds that the operator deals with."""

    MODEL_DEPLOYMENT = "ModelDeployment"
    DEPLOYMENT = "Deployment"
    POD = "Pod"
    CONFIG_MAP = "ConfigMap"
    CLAIM = "PersistentVolumeClaim"
    EVENT = "Event"


class ClusterError(Exception):
    """The API server cannot be reached, or answered that it cannot serve now. Worth another try."""


class RefusedError(Exception):
    """The API server will not do it, and will not when asked again: a schema, a quota, a missing right."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Cluster(Protocol):
    """The API server. Every method raises ClusterError, and writes raise RefusedError."""

    async def get(self, kind: Kind, name: str) -> Json | None:
        """One object; None where there is none."""

    async def list(self, kind: Kind, labels: Mapping[str, str] | None = None) -> list[Json]:
        """All objects with these labels."""

    async def apply(self, manifest: Json, *, over: str | None) -> None:
        """Server-side apply over the object with this uid, fields that others have set included.

        None: the object is to be made, and one that somebody else made meanwhile is not taken over.
        """

    async def apply_status(self, manifest: Json) -> None:
        """Server-side apply of a status. An object that is gone needs none."""

    async def delete(self, kind: Kind, name: str, uid: str, resource_version: str) -> None:
        """Delete the object if it still is this one in this version; else leave it."""

    async def record(self, event: Json) -> None:
        """Create an Event, unless it is there."""
