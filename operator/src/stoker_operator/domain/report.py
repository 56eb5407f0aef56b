"""The report on a models config: what became of each entry, in a ConfigMap beside it and as Events on it."""

import json
from collections.abc import Mapping
from typing import Any

from stoker_contracts import names
from stoker_operator.domain.events import event, reference
from stoker_operator.domain.intent import stamped
from stoker_operator.domain.manifests.owner import owner_reference
from stoker_operator.domain.models_config import Config, Conflict

Item = Mapping[str, Any]
Conflicts = Mapping[tuple[str, str], Conflict]
"""By config and resource name."""

UNREADABLE = "Unreadable"
"""The reason of an Event about a config that could not be read at all."""


def report_name(config: Config) -> str:
    """The name of the ConfigMap that holds the report."""
    return f"{config.name}{names.REPORT_SUFFIX}"


def report(config: Config, conflicts: Conflicts) -> dict[str, Any]:
    """Entry by entry: accepted as which resource, or why not."""
    if config.read.error is not None:
        return {"error": config.read.error, "entries": []}
    remarks: dict[int, list[str]] = {}
    for remark in config.read.remarks:
        remarks.setdefault(remark.index, []).append(remark.message)
    entries = {
        refusal.index: {"accepted": False, "reason": refusal.reason.value, "message": refusal.message}
        for refusal in config.read.refusals
    }
    for model in config.read.models:
        conflict = conflicts.get((config.name, model.name))
        told: dict[str, Any] = {"name": model.name, "accepted": conflict is None}
        if conflict is not None:
            told |= {"reason": conflict.reason.value, "message": conflict.message}
        entries |= dict.fromkeys(model.indices, told)
    listed = [
        {"index": index} | entry | ({"remarks": remarks[index]} if index in remarks else {})
        for index, entry in sorted(entries.items())
    ]
    return {"error": None, "entries": listed}


def report_manifest(config: Config, document: Item) -> dict[str, Any]:
    """The ConfigMap that holds the report."""
    return stamped(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": report_name(config),
                "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
                "ownerReferences": [owner_reference(config.source, "v1", "ConfigMap")],
            },
            "data": {names.REPORT_KEY: json.dumps(document, indent=1, ensure_ascii=False)},
        }
    )


def is_report(config: Config, found: Item) -> bool:
    """Whether the ConfigMap of its name is the report. One with our label and no owner is: somebody removed the reference."""
    metadata = found["metadata"]
    owner = next((each for each in metadata.get("ownerReferences") or [] if each.get("controller")), None)
    if owner is None:
        return (metadata.get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
    return (owner.get("kind"), owner.get("name")) == ("ConfigMap", config.name)


def report_events(config: Config, document: Item, found: Item | None, now: float) -> list[dict[str, Any]]:
    """One Event on the config for each refusal that the former report did not tell."""
    regarding = reference(config.source, "v1", "ConfigMap")
    before = _former(found)
    if document["error"] is not None:
        told = document["error"]
        return [] if before.get("error") == told else [event(regarding, "Warning", UNREADABLE, told, identity=told, now=now)]
    known = before.get("entries") or []
    return [
        event(regarding, "Warning", entry["reason"], _sentence(entry), identity=_sentence(entry), now=now)
        for entry in document["entries"]
        if not entry["accepted"] and entry not in known
    ]


def _sentence(entry: Item) -> str:
    return f"entry {entry['index']} is refused: {entry['message']}"


def _former(found: Item | None) -> dict[str, Any]:
    try:
        former = json.loads(((found or {}).get("data") or {}).get(names.REPORT_KEY, "{}"))
    except ValueError:
        return {}
    return former if isinstance(former, dict) else {}
