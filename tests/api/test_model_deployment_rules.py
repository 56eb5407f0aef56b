"""Every rule of the CRD, held against a real API server: what breaks it is refused with its sentence."""

import copy
import ssl
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from e2e.cluster.apitier import ApiTier
from tools.crds import model_deployment_crd

pytestmark = pytest.mark.api

BASE = {
    "apiVersion": "stoker.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "sdxl-turbo"},
    "spec": {"pipeline": "text-to-image", "modelId": "stabilityai/sdxl-turbo"},
}
GPU_REQUIRE = {"minDeviceMemory": "40Gi"}
EXTERNAL = {"endpoints": [{"url": "https://host:8000/base"}]}
NO_URL = "url must be http:// or https:// with a host, and no user name, query or fragment"


class Resources:
    """ModelDeployments of one namespace, by dry run: nothing is stored, everything is checked."""

    def __init__(self, client: httpx2.Client, namespace: str) -> None:
        self._client = client
        self._path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/modeldeployments"

    def create(self, spec: dict[str, Any], *, dry_run: bool = True) -> httpx2.Response:
        body = copy.deepcopy(BASE) | {"spec": BASE["spec"] | spec}  # type: ignore[operator]
        return self._client.post(self._path, json=body, params={"dryRun": "All"} if dry_run else {})

    def merge(self, name: str, patch: dict[str, Any], subresource: str = "") -> httpx2.Response:
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._client.patch(f"{self._path}/{name}{subresource}", json=patch, headers=headers)

    def delete(self, name: str) -> None:
        self._client.delete(f"{self._path}/{name}")


@pytest.fixture(scope="module")
def resources(api_tier: ApiTier) -> Iterator[Resources]:
    context = ssl.create_default_context(cafile=str(api_tier.ca))
    headers = {"Authorization": f"Bearer {api_tier.token('admin')}"}
    with httpx2.Client(base_url=api_tier.url, verify=context, headers=headers) as client:
        yield Resources(client, "default")


@pytest.fixture
def stored(resources: Resources) -> Iterator[Resources]:
    """With one ModelDeployment really stored."""
    resources.create({}, dry_run=False).raise_for_status()
    yield resources
    resources.delete("sdxl-turbo")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"weights": {}}, "weights must name exactly one source: hub, claim or image"),
    ({"weights": {"hub": {}, "claim": {"name": "models"}}}, "weights must name exactly one source: hub, claim or image"),
    ({"weights": {"claim": {"name": "m", "path": "/etc"}}}, "path must be relative, without .."),
    ({"weights": {"claim": {"name": "m", "path": "a/../../b"}}}, "path must be relative, without .."),
    *[
        ({"external": EXTERNAL, field: value}, "external excludes gpu, weights, image, pod and rollout")
        for field, value in {
            "gpu": {"count": 1}, "weights": {"hub": {}}, "image": "worker:1", "pod": {}, "rollout": {"maxSurge": 1},
        }.items()
    ],
    ({"scaling": {"minReplicas": 2, "maxReplicas": 1}}, "minReplicas must not exceed maxReplicas"),
    ({"scaling": {"minReplicas": 2}}, "minReplicas must not exceed maxReplicas"),
    ({"warm": True, "scaling": {"maxReplicas": 0}}, "a warm model needs scaling.maxReplicas of at least 1"),
    ({"gpu": {"sharing": "Shared"}}, "sharing a card needs memory: how much of each card"),
    ({"gpu": {"memory": "41Gi", "require": GPU_REQUIRE}}, "memory must not exceed require.minDeviceMemory"),
    ({"gpu": {"count": -1}}, "should be greater than or equal to 0"),
    ({"gpu": {"memory": "lots"}}, "should match"),
    ({"price": {"perUnit": "-1"}}, "should match"),
    ({"price": {"perUnit": "cheap"}}, "should match"),
    ({"external": {"endpoints": []}}, "should have at least 1 items"),
    *[
        ({"external": {"endpoints": [{"url": url}]}}, NO_URL)
        for url in ("ftp://host", "host:8000", "https://", "https://me:secret@host/", "http:///path", "http://host/?a=b")
    ],
    ({"external": EXTERNAL | {"healthInterval": "0s"}}, "must be longer than 0s"),
    ({"scaling": {"idleAfter": "0s"}}, "must be longer than 0s"),
    ({"scaling": {"startTimeout": "25h"}}, "must be at most 24h"),
    ({"scaling": {"drainTimeout": "soon"}}, "should match"),
    ({"optimization": {"turbo": True}}, "unknown optimization flag; known: compile, bfloat16, cudnn-attention"),
    ({"pod": {"env": [{"name": "LD_PRELOAD", "value": "x"}]}}, "env may only hold variables that begin with STUB_"),
    ({"pod": {"env": [{"name": "HTTPS_PROXY", "value": "x"}]}}, "env may only hold variables that begin with STUB_"),
    ({"pod": {"env": [{"name": "PYTHONPATH", "value": "x"}]}}, "env may only hold variables that begin with STUB_"),
    ({"pod": {"labels": {"stoker.dev/model-deployment": "other"}}}, "are Stoker's own"),
    ({"pod": {"annotations": {"app.kubernetes.io/name": "other"}}}, "are Stoker's own"),
    ({"pipeline": "text-to-text"}, "Unsupported value"),
    ({"modelId": ""}, "should be at least 1 chars long"),
    ({"modelId": "m" * 257}, "may not be more than 256"),
    ({"image": "work er"}, "should match"),
    ({"capacity": 0}, "should be greater than or equal to 1"),
    ({"replicas": -1}, "should be greater than or equal to 0"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "sentence"), REFUSED)
def test_a_spec_that_breaks_a_rule_is_refused_with_its_sentence(resources: Resources, spec: dict[str, Any], sentence: str) -> None:
    answer = resources.create(spec)

    assert answer.status_code == httpx2.codes.UNPROCESSABLE_CONTENT
    assert sentence in answer.json()["message"]


ACCEPTED: list[dict[str, Any]] = [
    {},
    {"warm": True},
    {"weights": {"hub": {"revision": "refs/pr/1"}}},
    {"weights": {"claim": {"name": "models", "path": "org/model..v2"}}},
    {"weights": {"image": {"reference": "registry.example/models/sdxl@sha256:" + "0" * 64}}},
    {"external": EXTERNAL},
    {"scaling": {"minReplicas": 0, "maxReplicas": 3, "idleAfter": "1h30m"}},
    {"gpu": {"count": 2, "memory": "24Gi", "sharing": "Shared", "require": GPU_REQUIRE}},
    {"optimization": {"compile": True, "bfloat16": False}},
    {"pod": {"env": [{"name": "STUB_SCRIPT", "value": "{}"}], "labels": {"team": "video"}}},
    {"price": {"perUnit": "1.9073484e-08", "unitsPer": "pixel"}},
]


@pytest.mark.parametrize("spec", ACCEPTED)
def test_a_spec_that_keeps_the_rules_is_accepted(resources: Resources, spec: dict[str, Any]) -> None:
    answer = resources.create(spec)

    assert answer.status_code == httpx2.codes.CREATED, answer.text


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [("pipeline", "image-to-image", "pipeline is immutable"), ("modelId", "a/other", "modelId is immutable")],
)
def test_what_a_model_is_cannot_be_changed(stored: Resources, field: str, value: str, sentence: str) -> None:
    answer = stored.merge("sdxl-turbo", {"spec": {field: value}})

    assert answer.status_code == httpx2.codes.UNPROCESSABLE_CONTENT
    assert f"{sentence}; make a new ModelDeployment instead" in answer.json()["message"]


def test_the_server_fills_in_the_defaults_of_the_models(stored: Resources) -> None:
    spec = stored.merge("sdxl-turbo", {"metadata": {"labels": {"touched": "yes"}}}).json()["spec"]

    assert (spec["warm"], spec["replicas"], spec["capacity"]) == (False, 0, 1)
    assert spec["scaling"] == {
        "mode": "Activity",
        "maxReplicas": 1,
        "idleAfter": "10m",
        "targetQueueSeconds": 10,
        "startTimeout": "10m",
        "drainTimeout": "10m",
    }


def test_the_scale_subresource_is_there_from_the_start(stored: Resources) -> None:
    scaled = stored.merge("sdxl-turbo", {"spec": {"replicas": 1}}, "/scale")

    assert scaled.json()["spec"]["replicas"] == 1


def test_every_rule_of_the_schema_has_a_spec_that_breaks_it() -> None:
    sentences = [sentence for _, sentence in REFUSED] + ["pipeline is immutable", "modelId is immutable"]

    messages = set(_messages(model_deployment_crd()))

    assert messages
    assert [message for message in messages if not any(each in message for each in sentences)] == []


def _messages(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for rule in node.get("x-kubernetes-validations", []):
            yield rule["message"]
        for child in node.values():
            yield from _messages(child)
    elif isinstance(node, list):
        for child in node:
            yield from _messages(child)
