"""helm on this project's chart."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.cache import ROOT
from e2e.cluster.binaries import tools
from e2e.commands import run

CHART = ROOT / "deploy/helm/stoker"
RELEASE = "stoker"
NAMESPACE = "stoker"

EVERYTHING: Mapping[str, Any] = {
    "imagePullSecrets": [{"name": "pull"}],
    "models": [{"pipeline": "text-to-image", "model_id": "stabilityai/sdxl-turbo", "warm": True, "price_per_unit": 4768371}],
    "external": {"tokenSecret": "providers", "authorities": "our-ca"},
    "operator": {
        "nodeSelector": {"pool": "system"},
        "podAnnotations": {"example.com/a": "b"},
        "priorityClassName": "system-cluster-critical",
    },
    "orchestrator": {
        "replicas": 2,
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "podAnnotations": {"example.com/a": "b"},
        "service": {"type": "NodePort", "nodePort": 30935, "annotations": {"example.com/internal": "true"}},
    },
    "worker": {
        "allowedImagePrefixes": ["registry.example/stoker"],
        "gpu": {"count": 2, "resource": "amd.com/gpu"},
        "resources": {"cpu": 0.5, "memory": 8589934592},
        "weights": {"claim": {"name": "models", "path": "diffusion"}},
        "compileCache": {"claim": {"name": "compiled", "path": "code"}, "sizeLimit": 1073741824},
        "env": {"WORKER_MAX_STEPS": "50"},
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        "imagePullSecrets": [{"name": "pull"}],
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
    },
    "grafanaDashboard": {"enabled": True, "folder": "Diffusion", "annotations": {"example.com/a": "b"}},
    "networkPolicy": {
        "orchestrator": {
            "from": [{"namespaceSelector": {}}],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
        },
        "workers": {"from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
    },
}
"""Values with which the chart makes everything it can, but for its monitors: their kinds are not Kubernetes'."""


@dataclass(frozen=True, slots=True)
class Helm:
    """The programs in `tools`, with `environment` on top of this process's."""

    tools: Path
    environment: Mapping[str, str]

    @classmethod
    def at_home(cls, home: Path) -> "Helm":
        """helm with a home of its own: no repository, plugin or cluster of the user's is seen. Raises GoError, CommandError."""
        homes = {f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}
        return cls(tools(), homes | {"KUBECONFIG": os.devnull})

    def run(self, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """helm with these arguments and values. Raises CommandError."""
        return self.program("helm", *arguments, "--values", "-", text_in=json.dumps(values or {}))

    def program(self, name: str, *arguments: str | Path, text_in: str | None = None) -> str:
        """One of helm's companions. Raises CommandError."""
        return run(self.tools / name, *arguments, env=self.environment, text_in=text_in, timeout=60)

    def rendered(self, values: Mapping[str, Any] | None = None) -> str:
        """The manifests of a release, as text. Raises CommandError where the values are refused."""
        return self.run("template", RELEASE, CHART, "--namespace", NAMESPACE, values=values)

    def objects(self, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The manifests of a release."""
        return [each for each in yaml.safe_load_all(self.rendered(values)) if each is not None]


def variables(objects: list[dict[str, Any]], program: str) -> dict[str, str]:
    """The environment of a program's container; what the cluster fills in is the namespace."""
    deployments = (each for each in objects if each["kind"] == "Deployment")
    (deployment,) = (each for each in deployments if each["metadata"]["name"] == f"{RELEASE}-{program}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", NAMESPACE) for each in container["env"]}
