"""JSON schemas for kubeconform, made here: Kubernetes' own from the API description in its published Go module, ours from the CRD.

kubeconform would fetch them from the Internet. Fields that a schema does not name are refused: a cluster would drop them silently.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from e2e.cache import ROOT, content_key, made
from e2e.cluster.binaries import KUBERNETES_VERSION
from e2e.commands import run

LOCATION = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
"""How a schema's file is called, in kubeconform's words: the kind in lower case, and for the core the version as group."""
CRD = ROOT / "deploy/crds/modeldeployments.stoker.dev.yaml"
_MODULE = ROOT / "e2e/cluster/gomodules/kubernetes"
_DEFINITIONS = "definitions.json"
_EITHER = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}
"""Types that the description calls strings, and that a file may write as numbers."""

Schema = dict[str, Any]


def schemas() -> Path:
    """The folder with a schema for every kind. Raises CommandError."""
    return made("kubernetes-schemas", content_key(Path(__file__), CRD, KUBERNETES_VERSION), _write)


def _write(folder: Path) -> None:
    described = json.loads(_description().read_text())["definitions"]
    definitions = {name: _EITHER.get(name) or strict(schema) for name, schema in described.items()}
    _dump(folder / _DEFINITIONS, {"definitions": definitions})
    for name, schema in described.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            _dump(folder / _file(kind["kind"], kind["group"], kind["version"]), {"$ref": f"{_DEFINITIONS}#/definitions/{name}"})
    _dump(folder / _file("ModelDeployment", "stoker.dev", "v1alpha1"), _ours())


def _description() -> Path:
    run("go", "mod", "download", "k8s.io/kubernetes", cwd=_MODULE)
    folder = run("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes", cwd=_MODULE).strip()
    return Path(folder) / "api/openapi-spec/swagger.json"


def _ours() -> Schema:
    crd = yaml.safe_load(CRD.read_text())
    schema = strict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return schema


def strict(schema: Schema) -> Schema:
    """The same schema, without room for fields that it does not name."""
    parts = {name: strict(part) for name, part in schema.get("properties", {}).items()}
    closed: Schema = {"properties": parts, "additionalProperties": False} if parts else {}
    items: Schema = {"items": strict(schema["items"])} if isinstance(schema.get("items"), dict) else {}
    values = schema.get("additionalProperties")
    mapped: Schema = {"additionalProperties": strict(values)} if isinstance(values, dict) else {}
    return {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")} | closed | items | mapped


def _file(kind: str, group: str, version: str) -> str:
    return f"{kind.lower()}-{group or version}-{version}.json"


def _dump(file: Path, schema: Schema) -> None:
    file.write_text(json.dumps(schema))
