"""Objects of one namespace of a real API server, as a user with all rights sees and changes them."""

import json
import ssl
from typing import Any, Self

import httpx2

from e2e.cluster.apitier import ApiTier

Json = dict[str, Any]

_PATHS = {
    "ModelDeployment": "apis/stoker.dev/v1alpha1/namespaces/{}/modeldeployments",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Pod": "api/v1/namespaces/{}/pods",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Event": "api/v1/namespaces/{}/events",
    "ResourceQuota": "api/v1/namespaces/{}/resourcequotas",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ValidatingAdmissionPolicy": "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
MODELS_CONFIG = {"stoker.dev/models-config": "true"}


class Objects:
    """A client; close it after use."""

    def __init__(self, tier: ApiTier, namespace: str) -> None:
        self.namespace = namespace
        self._client = httpx2.Client(
            base_url=tier.url,
            verify=ssl.create_default_context(cafile=str(tier.ca)),
            headers={"Authorization": f"Bearer {tier.token('admin')}"},
            timeout=10,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def apply(self, *items: Json) -> None:
        """Server-side apply."""
        for item in items:
            self._apply(item).raise_for_status()

    def refuses(self, item: Json) -> bool:
        """Whether the API server would not take it."""
        return self._apply(item, dryRun="All").status_code == httpx2.codes.UNPROCESSABLE_CONTENT

    def _apply(self, item: Json, **parameters: str) -> httpx2.Response:
        headers = {"Content-Type": "application/apply-patch+yaml"}
        path = self._path(item["kind"], item["metadata"]["name"])
        return self._client.patch(path, json=item, params={"fieldManager": "test", "force": "true"} | parameters, headers=headers)

    def merge(self, kind: str, name: str, change: Json, subresource: str = "") -> None:
        """Merge-patch an object."""
        headers = {"Content-Type": "application/merge-patch+json"}
        self._client.patch(self._path(kind, name) + subresource, json=change, headers=headers).raise_for_status()

    def get(self, kind: str, name: str) -> Json | None:
        """One object; None where there is none."""
        answer = self._client.get(self._path(kind, name))
        return None if answer.status_code == httpx2.codes.NOT_FOUND else dict(answer.raise_for_status().json())

    def the(self, kind: str, name: str) -> Json:
        """One object that must be there."""
        found = self.get(kind, name)
        assert found is not None, f"there is no {kind} {name}"
        return found

    def all(self, kind: str, selector: str = "") -> list[Json]:
        """All objects of a kind."""
        answer = self._client.get(_PATHS[kind].format(self.namespace), params={"labelSelector": selector} if selector else {})
        return list(answer.raise_for_status().json()["items"])

    def names(self, kind: str) -> set[str]:
        """The names of all objects of a kind."""
        return {each["metadata"]["name"] for each in self.all(kind)}

    def delete(self, kind: str, name: str) -> None:
        """Delete an object that is there."""
        self._client.delete(self._path(kind, name)).raise_for_status()

    def condition(self, name: str, kind: str = "Ready") -> tuple[str, str, str]:
        """Status, reason and message of a condition of a ModelDeployment; empty where it has none yet."""
        resource = self.get("ModelDeployment", name) or {}
        found = [each for each in resource.get("status", {}).get("conditions", []) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")

    def reason(self, name: str, kind: str = "Ready") -> str:
        """The reason of a condition of a ModelDeployment."""
        return self.condition(name, kind)[1]

    def pods(self, model: str) -> list[Json]:
        """The workers of a ModelDeployment that were not asked to stop."""
        found = self.all("Pod", f"stoker.dev/model-deployment={model}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def report(self, config: str) -> Json:
        """The report on a models config; empty where there is none yet."""
        found = self.get("ConfigMap", f"{config}-report")
        return dict(json.loads(found["data"]["report.json"])) if found else {}

    def _path(self, kind: str, name: str) -> str:
        return f"{_PATHS[kind].format(self.namespace)}/{name}"


def models_config(name: str, *entries: Any, text: str | None = None) -> Json:
    """A models config."""
    data = {"aiModels.json": json.dumps(entries) if text is None else text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": MODELS_CONFIG}, "data": data}


def entry(model_id: str, **others: Any) -> Json:
    """A text-to-image entry of a models config."""
    return {"pipeline": "text-to-image", "model_id": model_id} | others


def model(name: str, **spec: Any) -> Json:
    """A ModelDeployment as a user writes it."""
    spec = {"pipeline": "text-to-image", "modelId": f"org/{name}"} | spec
    return {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": spec}
