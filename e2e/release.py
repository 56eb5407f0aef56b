"""A release of Stoker in a cluster: this clone's chart with this clone's images, as a user would install it."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cache import ROOT
from e2e.cluster.kind import Cluster
from e2e.commands import CommandError
from stoker_contracts import names

CHART = ROOT / "deploy/helm/stoker"
NAME = "stoker"
RESOURCES = f"{names.PLURAL}.{names.GROUP}"
_INSTALL_TIMEOUT = "180s"

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Release:
    """Stoker in one namespace; its orchestrator answers on `url`."""

    cluster: Cluster
    namespace: str
    node_port: int

    @property
    def url(self) -> str:
        """The orchestrator, as this host reaches it."""
        return f"http://127.0.0.1:{self.cluster.port(self.node_port)}"

    def kubectl(self, *arguments: str, text_in: str | None = None) -> str:
        """Run kubectl in the release's namespace. Raises CommandError."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, text_in=text_in)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object, or None where there is none. Raises CommandError where the cluster does not answer."""
        found = self.kubectl("get", kind, name, "--output", "json", "--ignore-not-found")
        return dict(json.loads(found)) if found.strip() else None

    def list(self, kind: str, labels: str = "") -> list[dict[str, Any]]:
        """The objects of a kind that have these labels."""
        found = self.kubectl("get", kind, "--output", "json", "--selector", labels)
        return list(json.loads(found)["items"])

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply objects as a user does."""
        bundle = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--filename", "-", text_in=json.dumps(bundle))

    def delete(self, kind: str, name: str, *arguments: str) -> None:
        """Delete an object; it may be gone already."""
        self.kubectl("delete", kind, name, "--ignore-not-found", *arguments)

    def upgrade(self, values: Values) -> None:
        """Install, or change what is installed, and wait until Stoker's own pods are ready. Raises CommandError."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "values.json"
            file.write_text(json.dumps(values))
            self.cluster.helm(
                "upgrade", "--install", NAME, str(CHART), "--namespace", self.namespace, "--values", str(file),
                "--wait", "--timeout", _INSTALL_TIMEOUT,
            )  # fmt: skip

    def uninstall(self) -> None:
        """Take the release away, with its resources and their pods."""
        self.cluster.helm("uninstall", NAME, "--namespace", self.namespace, "--wait", "--timeout", _INSTALL_TIMEOUT)


def install(cluster: Cluster, namespace: str, node_port: int, values: Values) -> Release:
    """A release in a namespace of its own that enforces the *restricted* Pod Security level."""
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": enforced}}
    cluster.kubectl("apply", "--filename", "-", text_in=json.dumps(manifest))
    release = Release(cluster, namespace, node_port)
    service = {"type": "NodePort", "nodePort": node_port}
    release.upgrade(merged({"orchestrator": {"service": service}}, values))
    return release


def image_values(references: Mapping[str, str], worker: str) -> dict[str, Any]:
    """Chart values for the images in `references`; `worker` is the name of the worker image to use."""
    parts = {name: _image(references[name]) for name in ("operator", "orchestrator", worker)}
    return {
        "operator": {"image": parts["operator"]},
        "orchestrator": {"image": parts["orchestrator"]},
        "worker": {"image": parts[worker]},
    }


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def merged(first: Values, *others: Values) -> dict[str, Any]:
    """Nested values put together; the later ones win."""
    result = dict(first)
    for other in others:
        for key, value in other.items():
            before = result.get(key)
            result[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result


def exists(cluster: Cluster, kind: str, name: str) -> bool:
    """Whether a cluster-wide object is there."""
    try:
        return bool(cluster.kubectl("get", kind, name, "--output", "name", "--ignore-not-found").strip())
    except CommandError:
        return False
