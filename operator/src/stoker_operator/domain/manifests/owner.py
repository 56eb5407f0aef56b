"""References from what we make to what it was made for; the garbage collector follows them."""

from collections.abc import Mapping
from typing import Any


def owner_reference(owner: Mapping[str, Any], api_version: str, kind: str) -> dict[str, Any]:
    """A controller reference. It does not block the owner's deletion, which would need a right on its finalizers."""
    metadata = owner["metadata"]
    return {"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True}
