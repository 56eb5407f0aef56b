"""Models configs → ModelDeployments: what to apply, what to remove, and what became of each entry.

All models configs of the namespace are judged together, because two may ask for the same model: the older one gets it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stoker_contracts import names
from stoker_contracts.models_config import ModelEntry, ModelsConfig, parse
from stoker_operator.domain.conditions.accepted import MAX_LABEL
from stoker_operator.domain.intent import fulfilled
from stoker_operator.domain.manifests.model_deployment import model_deployment
from stoker_operator.domain.plan import Application, Deletion

Item = Mapping[str, Any]


class Outcome(StrEnum):
    """Why an entry that could be read is not served. What could not be read has a reason of the parser."""

    NAME_TAKEN = "NameTaken"
    LISTED_ELSEWHERE = "ListedElsewhere"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A model that its config does not get, and why."""

    reason: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class Config:
    """One models config as it was read."""

    source: Item
    read: ModelsConfig

    @property
    def name(self) -> str:
        """The ConfigMap's name."""
        return str(self.source["metadata"]["name"])

    @property
    def leaving(self) -> bool:
        """Whether the ConfigMap is being deleted."""
        return bool(self.source["metadata"].get("deletionTimestamp"))


@dataclass(frozen=True, slots=True)
class ConfigsPlan:
    """Resources to apply and to delete, and by config and resource name what a config does not get."""

    apply: tuple[tuple[str, Application], ...]
    """Each with the name of the config that it comes from."""
    delete: tuple[Deletion, ...]
    conflicts: Mapping[tuple[str, str], Conflict]


def read_configs(config_maps: Iterable[Item]) -> tuple[Config, ...]:
    """All models configs, the oldest first."""
    by_age = sorted(config_maps, key=lambda each: (each["metadata"].get("creationTimestamp") or "", each["metadata"]["name"]))
    return tuple(Config(each, _read(each)) for each in by_age)


def _read(config_map: Item) -> ModelsConfig:
    if config_map["metadata"].get("deletionTimestamp"):
        return ModelsConfig(error="the ConfigMap is being deleted; its models go with it, unless it was deleted without them")
    if len(config_map["metadata"]["name"]) > MAX_LABEL:
        return ModelsConfig(error=f"the ConfigMap's name is longer than {MAX_LABEL} characters; nothing was changed")
    text = (config_map.get("data") or {}).get(names.MODELS_CONFIG_KEY)
    if text is None:
        return ModelsConfig(error=f"the ConfigMap has no key {names.MODELS_CONFIG_KEY}; nothing was changed")
    return parse(text)


def plan_configs(configs: tuple[Config, ...], resources: Iterable[Item]) -> ConfigsPlan:
    """Decide. `resources` are all ModelDeployments of the namespace."""
    existing = {each["metadata"]["name"]: each for each in resources}
    winners = _winners(configs, existing)
    conflicts: dict[tuple[str, str], Conflict] = {}
    applied: list[tuple[str, Application]] = []
    kept = {name for name, config in winners.items() if config.read.error}
    for config in configs:
        for entry in config.read.models:
            objection = _objection(config, entry, winners[entry.name], existing.get(entry.name))
            if objection is not None:
                conflicts[config.name, entry.name] = objection
                continue
            found = existing.get(entry.name)
            if found is None or _same_pair(entry, found):
                kept.add(entry.name)
                applied.extend((config.name, wish) for wish in _wishes(config, entry, found))
    return ConfigsPlan(tuple(applied), tuple(_pruned(existing, kept)), conflicts)


def _winners(configs: tuple[Config, ...], existing: Mapping[str, Item]) -> dict[str, Config]:
    """Who gets each resource: the oldest that wants it. A config that cannot be read wants what it has."""
    winners: dict[str, Config] = {}
    for config in configs:
        wanted = [entry.name for entry in config.read.models]
        if config.read.error is not None:
            wanted = [name for name, resource in existing.items() if owning_config(resource) == config.name]
        for name in wanted:
            winners.setdefault(name, config)
    return winners


def _objection(config: Config, entry: ModelEntry, winner: Config, found: Item | None) -> Conflict | None:
    if winner is not config:
        message = f"the older models config {winner.name} has the resource {entry.name}; remove the entry from one of them"
        return Conflict(Outcome.LISTED_ELSEWHERE, message)
    if found is not None and owning_config(found) is None:
        message = f"a ModelDeployment {entry.name} that no models config owns exists; remove it, or this entry"
        return Conflict(Outcome.NAME_TAKEN, message)
    return None


def _wishes(config: Config, entry: ModelEntry, found: Item | None) -> Iterator[Application]:
    """The resource to apply; nothing where it stands already or must vanish first."""
    if found is not None and found["metadata"].get("deletionTimestamp"):
        return
    intended = model_deployment(config.source, entry)
    if not fulfilled(intended, found):
        yield Application(intended, over=found["metadata"]["uid"] if found else None)


def _same_pair(entry: ModelEntry, found: Item) -> bool:
    """Pipeline and model id cannot be changed: where two models have one name, the former makes way."""
    spec = found.get("spec") or {}
    return (spec.get("pipeline"), spec.get("modelId")) == (entry.pipeline, entry.model_id)


def _pruned(existing: Mapping[str, Item], kept: set[str]) -> Iterator[Deletion]:
    for name, resource in existing.items():
        metadata = resource["metadata"]
        if name not in kept and owning_config(resource) is not None and not metadata.get("deletionTimestamp"):
            yield Deletion(name, metadata["uid"], metadata["resourceVersion"])


def owning_config(resource: Item) -> str | None:
    """The name of the ConfigMap that a ModelDeployment comes from; None where a person made it."""
    owners = resource["metadata"].get("ownerReferences") or []
    return next((str(each["name"]) for each in owners if each.get("kind") == "ConfigMap"), None)
