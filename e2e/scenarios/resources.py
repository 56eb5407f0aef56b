"""What the scenarios apply, and what they look at."""

import json
from typing import Any

import httpx2

from e2e.release import RESOURCES, Release
from stoker_contracts import names

JOB = {"prompt": "a red circle on a blue background", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 7}
"""A job that takes a stub worker some hundredths of a second."""


def model_deployment(name: str, *, script: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A text-to-image ModelDeployment with the model id ``org/<name>``; `script` tells its stub worker how to behave."""
    pod = {"env": [{"name": "STUB_SCRIPT", "value": json.dumps(script)}]} if script else {}
    wanted = {"pipeline": "text-to-image", "modelId": f"org/{name}", "pod": pod} | spec
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": wanted}


def models_config(name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A ConfigMap that holds a models config."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {names.LABEL_MODELS_CONFIG: "true"}},
        "data": {names.MODELS_CONFIG_KEY: json.dumps(entries)},
    }


def condition(release: Release, name: str, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition of a ModelDeployment; empty words where it has none yet."""
    resource = release.get(RESOURCES, name) or {}
    for each in resource.get("status", {}).get("conditions", []):
        if each["type"] == kind:
            return each["status"], each["reason"], each["message"]
    return "", "", ""


def row(release: Release, name: str) -> str:
    """What ``kubectl get smd`` shows of a ModelDeployment."""
    return release.kubectl("get", names.SHORT_NAME, name, "--output", "wide", "--no-headers", "--ignore-not-found").strip()


def pods(release: Release, name: str) -> list[dict[str, Any]]:
    """The worker pods of a ModelDeployment that are not on their way out."""
    found = release.list("pods", f"{names.LABEL_MODEL_DEPLOYMENT}={name}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def advertised(client: httpx2.Client) -> dict[str, dict[str, Any]]:
    """What is advertised, by the models' ids."""
    document = client.get("/capabilities").raise_for_status().json()
    return {model["model_id"]: model for each in document["capabilities"] for model in each["models"]}


def offers(client: httpx2.Client) -> dict[str, bool]:
    """The advertised models, and whether each is warm."""
    return {model_id: model["warm"] for model_id, model in advertised(client).items()}


def send(client: httpx2.Client, model_id: str, **fields: Any) -> httpx2.Response:
    """A text-to-image job."""
    return client.post("/text-to-image", json=JOB | {"model_id": model_id} | fields)


def ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is ready."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def all_ready(release: Release, name: str, count: int) -> bool:
    """Whether a ModelDeployment has so many workers, every one of them ready."""
    found = pods(release, name)
    return len(found) == count and all(ready(pod) for pod in found)


def restarts(release: Release, pod: str) -> int:
    """How often the program in `pod` was started again."""
    found = release.get("pod", pod) or {}
    return sum(each["restartCount"] for each in found.get("status", {}).get("containerStatuses", []))
