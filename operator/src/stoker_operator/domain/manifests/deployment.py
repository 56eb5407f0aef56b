"""The Deployment of one ModelDeployment."""

from collections.abc import Mapping
from typing import Any

from stoker_contracts import names
from stoker_operator.domain.intent import stamped
from stoker_operator.domain.manifests.owner import owner_reference
from stoker_operator.domain.manifests.pod import pod_spec
from stoker_operator.domain.wanted import Wanted

_APPLICATION = {"app.kubernetes.io/name": "stoker-worker", "app.kubernetes.io/component": "worker"}


def labels(name: str) -> dict[str, str]:
    """By these the objects of one ModelDeployment are found. They are a Deployment's selector, and so never change."""
    return {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_MODEL_DEPLOYMENT: name}


def selector(name: str) -> str:
    """The same as a selector for the scale subresource."""
    return f"{names.LABEL_MODEL_DEPLOYMENT}={name}"


def deployment(resource: Mapping[str, Any], asked: Wanted) -> dict[str, Any]:
    """The Deployment that runs the workers of `resource`."""
    name, pod = resource["metadata"]["name"], asked.spec.pod
    surge = asked.spec.rollout.max_surge if asked.spec.rollout else 0
    own = {names.LABEL_RESOURCE_UID: resource["metadata"]["uid"]}
    template_labels = (dict(pod.labels) if pod else {}) | _APPLICATION | labels(name) | own
    annotations = dict(pod.annotations) if pod else {}
    return stamped(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": name,
                "labels": _APPLICATION | labels(name),
                "ownerReferences": [owner_reference(resource, names.API_VERSION, names.KIND)],
            },
            "spec": {
                "replicas": asked.replicas,
                "revisionHistoryLimit": 2,
                "selector": {"matchLabels": labels(name)},
                # With no surge one worker may be missing: it makes room for its successor.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1 - surge}},
                "template": {
                    "metadata": {"labels": template_labels} | ({"annotations": annotations} if annotations else {}),
                    "spec": pod_spec(asked),
                },
            },
        }
    )
