"""Models configs → ModelDeployments: what to apply, what to remove, and what became of each entry.

All models configs of the namespace are judged together, because two may ask for the same model: the older one gets it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from stoker_contracts import names
from stoker_contracts.models_config import ModelEntry, ModelsConfig, parse
from stoker_contracts.names import Pair, resource_names
from stoker_contracts.pipelines import Pipeline
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
    """One models config as it was read. `kept` are the resources that stay as they are: nothing readable speaks of them."""

    source: Item
    read: ModelsConfig
    kept: frozenset[str] = frozenset()

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


def read_configs(config_maps: Iterable[Item], resources: Iterable[Item]) -> tuple[Config, ...]:
    """All models configs, the oldest first. `resources` are all ModelDeployments of the namespace; models keep their names."""
    owned = [each for each in resources if owning_config(each) is not None]
    by_age = sorted(config_maps, key=lambda each: (each["metadata"].get("creationTimestamp") or "", each["metadata"]["name"]))
    return _named([_config(each, owned) for each in by_age], owned)


def _config(source: Item, owned: list[Item]) -> Config:
    read = _read(source)
    own = [each for each in owned if owning_config(each) == source["metadata"]["name"]]
    kept = [each["metadata"]["name"] for each in own if read.error is not None or _may_be_meant(each, read)]
    return Config(source, read, frozenset(kept))


def _may_be_meant(resource: Item, read: ModelsConfig) -> bool:
    """Whether an entry that is refused may speak of this resource's model."""
    model = _pair(resource)
    return model is not None and any(refusal.may_mean(model) for refusal in read.refusals)


def _named(configs: list[Config], owned: list[Item]) -> tuple[Config, ...]:
    """Over all configs, so that two models never ask for one name, and none that runs is renamed because of a newcomer."""
    held = {pair: str(each["metadata"]["name"]) for each in owned if (pair := _pair(each)) is not None}
    kept = [pair for pair, name in held.items() if any(name in config.kept for config in configs)]
    names = resource_names([*kept, *(model.pair for config in configs for model in config.read.models)], held)
    return tuple(replace(config, read=_renamed(config.read, names)) for config in configs)


def _renamed(read: ModelsConfig, names: Mapping[Pair, str]) -> ModelsConfig:
    return replace(read, models=tuple(replace(model, name=names[model.pair]) for model in read.models))


def _pair(resource: Item) -> Pair | None:
    """Which model a resource is of; None where this version does not know its pipeline."""
    spec = resource.get("spec") or {}
    try:
        return Pipeline(str(spec.get("pipeline"))), str(spec.get("modelId"))
    except ValueError:
        return None


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
    """Decide. `resources` are those that the configs were read with."""
    existing = {each["metadata"]["name"]: each for each in resources}
    winners = _winners(configs)
    conflicts: dict[tuple[str, str], Conflict] = {}
    applied: list[tuple[str, Application]] = []
    kept = {name for name, config in winners.items() if name in config.kept}
    for config in configs:
        for entry in config.read.models:
            objection = _objection(config, entry, winners[entry.name], existing.get(entry.name))
            if objection is not None:
                conflicts[config.name, entry.name] = objection
                continue
            found = existing.get(entry.name)
            # Pipeline and model id cannot be changed: where two models have one name, the former makes way.
            if found is None or _pair(found) == entry.pair:
                kept.add(entry.name)
                applied.extend((config.name, wish) for wish in _wishes(config, entry, found))
    return ConfigsPlan(tuple(applied), tuple(_pruned(existing, kept)), conflicts)


def _winners(configs: tuple[Config, ...]) -> dict[str, Config]:
    """Who gets each resource: the oldest that wants it. What cannot be read wants what it has."""
    winners: dict[str, Config] = {}
    for config in configs:
        for name in (*config.kept, *(entry.name for entry in config.read.models)):
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


def _pruned(existing: Mapping[str, Item], kept: set[str]) -> Iterator[Deletion]:
    for name, resource in existing.items():
        metadata = resource["metadata"]
        if name not in kept and owning_config(resource) is not None and not metadata.get("deletionTimestamp"):
            yield Deletion(name, metadata["uid"], metadata["resourceVersion"])


def owning_config(resource: Item) -> str | None:
    """The name of the ConfigMap that a ModelDeployment comes from; None where a person made it."""
    owners = resource["metadata"].get("ownerReferences") or []
    return next((str(each["name"]) for each in owners if each.get("kind") == "ConfigMap"), None)
