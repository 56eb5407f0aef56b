"""A Kubernetes API in memory, with server-side apply, preconditions, and a garbage collector."""

import copy
import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from stoker_contracts.quantities import quantity
from stoker_operator.adapters.port import ClusterError, Kind, RefusedError
from tests.support.resources import AT_NOW

Json = dict[str, Any]

_ITEM_KEYS = ("mountPath", "uid", "name", "type")


class FakeCluster:
    """What is stored, what was written, and what goes wrong: `refuse` by kind and name, `broken` for all requests."""

    def __init__(self, *objects: Json) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.writes: list[str] = []
        self.events: dict[str, Json] = {}
        self.refuse: dict[tuple[str, str], RefusedError] = {}
        self.broken = False
        self._applied: dict[tuple[str, str, str], Json] = {}
        self._versions = itertools.count(1)
        for each in objects:
            self.put(each)

    def put(self, item: Json) -> Json:
        """Store an object as a person would."""
        stored = copy.deepcopy(item)
        metadata = stored["metadata"]
        defaults = {
            "namespace": "stoker",
            "uid": f"uid-{item['kind']}-{metadata['name']}",
            "creationTimestamp": AT_NOW,
            "generation": 1,
        }
        stored["metadata"] = defaults | metadata | {"resourceVersion": str(next(self._versions))}
        self.objects[stored["kind"], metadata["name"]] = stored
        return stored

    def remove(self, kind: Kind, name: str) -> None:
        """Delete an object, and with it what it owns."""
        gone = self.objects.pop((kind, name))["metadata"]["uid"]
        self._applied = {key: value for key, value in self._applied.items() if key[:2] != (kind, name)}
        for (owned_kind, owned_name), item in list(self.objects.items()):
            if any(each["uid"] == gone for each in item["metadata"].get("ownerReferences") or []):
                self.remove(Kind(owned_kind), owned_name)

    def of(self, kind: Kind, name: str) -> Json:
        """One stored object."""
        return self.objects[kind, name]

    async def get(self, kind: Kind, name: str) -> Json | None:
        self._reach()
        return copy.deepcopy(self.objects.get((kind, name)))

    async def list(self, kind: Kind, labels: Mapping[str, str] | None = None) -> list[Json]:
        self._reach()
        found = [item for (of, _), item in self.objects.items() if of == kind]
        wanted = (labels or {}).items()
        return copy.deepcopy([item for item in found if wanted <= (item["metadata"].get("labels") or {}).items()])

    async def apply(self, manifest: Json, *, over: str | None) -> None:
        key = (Kind(manifest["kind"]), manifest["metadata"]["name"])
        self._begin_write(f"apply {key[0]} {key[1]}", key)
        stored = self.objects.get(key)
        if (stored is not None or over is not None) and (stored is None or stored["metadata"]["uid"] != over):
            raise RefusedError(409, "it is another object")
        if stored is None:
            self._applied[(*key, "")] = copy.deepcopy(manifest)
            self.put(_normal(manifest))
            return
        self._merge((*key, ""), stored, manifest)

    async def apply_status(self, manifest: Json) -> None:
        key = (Kind(manifest["kind"]), manifest["metadata"]["name"])
        self._begin_write(f"status {key[1]}", key)
        stored = self.objects.get(key)
        if stored is not None and stored["metadata"]["uid"] == manifest["metadata"]["uid"]:
            self._merge((*key, "status"), stored, {"status": manifest["status"]})

    async def delete(self, kind: Kind, name: str, uid: str, resource_version: str) -> None:
        self._begin_write(f"delete {kind} {name}", (kind, name))
        metadata = self.objects.get((kind, name), {"metadata": {}})["metadata"]
        if (metadata.get("uid"), metadata.get("resourceVersion")) == (uid, resource_version):
            self.remove(kind, name)

    async def record(self, event: Json) -> None:
        name = event["metadata"]["name"]
        if name not in self.events:
            self._begin_write(f"event {event['reason']}", (Kind.EVENT, name))
            self.events[name] = event

    def _reach(self) -> None:
        if self.broken:
            message = "the API server cannot be reached"
            raise ClusterError(message)

    def _begin_write(self, what: str, key: tuple[str, str]) -> None:
        self._reach()
        self.writes.append(what)
        if key in self.refuse:
            raise self.refuse[key]

    def _merge(self, manager: tuple[str, str, str], stored: Json, manifest: Json) -> None:
        before = json.dumps(stored, sort_keys=True)
        spec = json.dumps(stored.get("spec"), sort_keys=True)
        _withdraw(stored, self._applied.get(manager, {}), manifest)
        _overlay(stored, _normal(manifest))
        self._applied[manager] = copy.deepcopy(manifest)
        if json.dumps(stored, sort_keys=True) != before:
            stored["metadata"]["resourceVersion"] = str(next(self._versions))
        if json.dumps(stored.get("spec"), sort_keys=True) != spec:
            stored["metadata"]["generation"] += 1


def _item_key(items: Any) -> str | None:
    """The member by which items of a list are told apart; None where the list is one value."""
    if not isinstance(items, list) or not items:
        return None
    return next((key for key in _ITEM_KEYS if all(isinstance(item, dict) and key in item for item in items)), None)


def _withdraw(stored: Json, before: Json, intended: Json) -> None:
    """Remove what was applied before and is not intended any more."""
    for key, value in before.items():
        if key not in intended:
            stored.pop(key, None)
        elif isinstance(value, dict) and isinstance(intended[key], dict) and isinstance(stored.get(key), dict):
            _withdraw(stored[key], value, intended[key])
        elif (by := _item_key(value)) is not None and isinstance(stored.get(key), list):
            kept = {item.get(by): item for item in intended[key]}
            gone = {item[by] for item in value} - kept.keys()
            stored[key] = [item for item in stored[key] if item.get(by) not in gone]
            for item in stored[key]:
                former = next((each for each in value if each[by] == item.get(by)), None)
                if former is not None:
                    _withdraw(item, former, kept[former[by]])


def _overlay(stored: Json, intended: Json) -> None:
    for key, value in intended.items():
        if isinstance(value, dict) and isinstance(stored.get(key), dict):
            _overlay(stored[key], value)
        elif (by := _item_key(value)) is not None and isinstance(stored.get(key), list) and key != "workers":
            known = {item.get(by): item for item in stored[key]}
            for item in value:
                if item[by] in known:
                    _overlay(known[item[by]], item)
                else:
                    stored[key].append(copy.deepcopy(item))
        else:
            stored[key] = copy.deepcopy(value)


def _normal(item: Any, *, sizes: bool = False) -> Any:
    """As the API server stores it: quantities in their shortest form, empty strings left out."""
    if isinstance(item, dict):
        kept = {key: value for key, value in item.items() if value != "" or key in ("warm", "message", "selector")}
        return {key: _normal(value, sizes=sizes or key in ("limits", "requests", "sizeLimit")) for key, value in kept.items()}
    if isinstance(item, list):
        return [_normal(each, sizes=sizes) for each in item]
    return _shortest(quantity(item)) if sizes and isinstance(item, str) else item


def _shortest(size: Decimal) -> str:
    if size != int(size):
        return f"{int(size * 1000)}m"
    for factor, unit in ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
        if size and size % factor == 0:
            return f"{int(size) // factor}{unit}"
    return str(int(size))
