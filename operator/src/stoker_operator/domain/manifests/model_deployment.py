"""The ModelDeployment of one entry of a models config."""

from collections.abc import Mapping
from typing import Any

from stoker_contracts import names
from stoker_contracts.models_config import ModelEntry
from stoker_operator.domain.intent import stamped
from stoker_operator.domain.manifests.owner import owner_reference


def model_deployment(config_map: Mapping[str, Any], entry: ModelEntry) -> dict[str, Any]:
    """The resource that `entry` asks for. It never says replicas: these are whoever scales's."""
    endpoints = [
        {"url": each.url, "capacity": each.capacity} | ({"tokenKey": each.token_key} if each.token_key else {})
        for each in entry.urls
    ]
    price = entry.price and {"perUnit": entry.price.per_unit, "currency": entry.price.currency, "unitsPer": "pixel"}
    return stamped(
        {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "name": entry.name,
                "labels": {
                    names.LABEL_MANAGED_BY: names.MANAGED_BY,
                    names.LABEL_MODELS_CONFIG: config_map["metadata"]["name"],
                },
                "ownerReferences": [owner_reference(config_map, "v1", "ConfigMap")],
            },
            "spec": {
                "pipeline": entry.pipeline.value,
                "modelId": entry.model_id,
                "warm": entry.warm,
                "capacity": entry.capacity,
                **({"price": price} if price else {}),
                **({"optimization": dict(entry.optimization)} if entry.optimization else {}),
                **({"external": {"endpoints": endpoints}} if endpoints else {}),
            },
        }
    )
