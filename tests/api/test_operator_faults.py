"""The operator under blows: killed, doubled, cut off, and left in peace."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from tests.chart.helm import Helm
from tests.support.api_objects import Objects, entry, model, models_config
from tests.support.operator_process import OperatorProcess, grant_rights
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

MANY = 25
QUIET_SECONDS = 8


@pytest.fixture
def objects(api_tier: ApiTier, kubelet: FakeKubelet, namespace: str, tmp_path: Path) -> Iterator[Objects]:
    """A namespace that the operator's user may serve."""
    with Objects(api_tier, namespace) as objects:
        grant_rights(Helm.at_home(tmp_path), objects)
        yield objects


def served(objects: Objects) -> int:
    found = objects.all("ModelDeployment")
    conditions = [each for resource in found for each in resource.get("status", {}).get("conditions", [])]
    return sum(each["type"] == "Ready" and each["reason"] == "Serving" for each in conditions)


def many() -> list[dict[str, object]]:
    return [entry(f"org/{number}", warm=True) for number in range(MANY)]


def test_an_operator_that_is_killed_again_and_again_gets_there(objects: Objects, api_tier: ApiTier, tmp_path: Path) -> None:
    objects.apply(models_config("models", *many()))
    for made in (1, MANY // 2, MANY):
        with OperatorProcess(api_tier, objects.namespace, tmp_path) as operator:
            eventually(lambda made=made: len(objects.names("Deployment")) >= made)  # type: ignore[misc]
            operator.kill()

    with OperatorProcess(api_tier, objects.namespace, tmp_path):
        eventually(lambda: served(objects) == MANY, seconds=60)
    assert len(objects.names("ModelDeployment")) == len(objects.names("Deployment")) == len(objects.names("Pod")) == MANY


def test_nothing_is_written_while_nothing_happens(objects: Objects, api_tier: ApiTier, tmp_path: Path) -> None:
    objects.apply(models_config("models", *many(), {"pipeline": "nope"}))
    with OperatorProcess(api_tier, objects.namespace, tmp_path, STOKER_RESYNC_SECONDS="2"):
        eventually(lambda: served(objects) == MANY, seconds=60)
        eventually(lambda: objects.report("models"))
        before = settled(api_tier)
        time.sleep(QUIET_SECONDS)

        assert api_tier.writes("operator") == before


UNUSUAL: list[dict[str, Any]] = [
    {"resources": {"cpu": "2000m", "memory": "1024Mi"}, "gpu": {"count": 0}},
    {"resources": {"cpu": "0.5", "memory": "0.1Gi"}, "optimization": {"compile": True, "bfloat16": False}},
    {
        "gpu": {
            "count": 2,
            "memory": "24Gi",
            "require": {"minDeviceMemory": "40Gi", "computeCapability": ">=8.9", "products": ["NVIDIA L4"]},
        }
    },
    {"weights": {"claim": {"name": "models", "path": "a/b/"}}, "rollout": {"maxSurge": 1}},
    {"weights": {"image": {"reference": "registry.example/w:1", "pullPolicy": "Never"}}, "image": "registry.example/worker:2"},
    {"scaling": {"minReplicas": 2, "maxReplicas": 3, "drainTimeout": "1500ms", "startTimeout": "2h"}, "capacity": 64},
    {"price": {"perUnit": "1.9073484e-08"}, "scaling": {"mode": "Manual"}, "replicas": 1},
    {
        "pod": {
            "nodeSelector": {"zone": ""},
            "tolerations": [
                {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
                {"key": "a", "value": "b"},
            ],
            "priorityClassName": "system-node-critical",
            "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
            "env": [{"name": "STUB_EMPTY"}, {"name": "STUB_X", "value": "$(PATH)"}],
            "labels": {"team": "", "example.com/a": "b"},
            "annotations": {"note": ""},
        }
    },
]


def test_what_the_api_server_writes_in_its_own_way_is_no_difference(objects: Objects, api_tier: ApiTier, tmp_path: Path) -> None:
    resources = [model(f"m-{number}", **({"warm": True} | spec)) for number, spec in enumerate(UNUSUAL)]
    objects.apply(*resources)
    with OperatorProcess(api_tier, objects.namespace, tmp_path, STOKER_RESYNC_SECONDS="1"):
        eventually(lambda: len(objects.names("Deployment")) == len(UNUSUAL))
        before = settled(api_tier)
        time.sleep(3)

        assert api_tier.writes("operator") == before


def settled(tier: ApiTier) -> list[str]:
    """The operator's writes, once a second has passed without one."""
    seen: list[str] = []

    def still() -> bool:
        nonlocal seen
        before, seen = seen, tier.writes("operator")
        return before == seen and bool(seen)

    eventually(still, every=1.0)
    return seen


def test_two_operators_at_once_do_no_harm_and_fall_silent(objects: Objects, api_tier: ApiTier, tmp_path: Path) -> None:
    with (
        OperatorProcess(api_tier, objects.namespace, tmp_path, STOKER_RESYNC_SECONDS="2"),
        OperatorProcess(api_tier, objects.namespace, tmp_path, STOKER_RESYNC_SECONDS="2"),
    ):
        objects.apply(models_config("models", *many()))
        eventually(lambda: served(objects) == MANY, seconds=60)
        objects.apply(models_config("models", *many()[1:]))
        eventually(lambda: len(objects.names("Pod")) == MANY - 1, seconds=60)
        before = settled(api_tier)
        time.sleep(QUIET_SECONDS)

        assert api_tier.writes("operator") == before
    told = [(each["involvedObject"]["name"], each["reason"], each["firstTimestamp"]) for each in objects.all("Event")]
    ready = [each for each in told if each[1] == "Serving"]
    assert len({name for name, *_ in ready}) == MANY


def test_an_operator_ends_soon_and_cleanly_when_asked(objects: Objects, api_tier: ApiTier, tmp_path: Path) -> None:
    with OperatorProcess(api_tier, objects.namespace, tmp_path) as operator:
        operator.healthy()
        assert operator.process is not None

        began = time.monotonic()
        operator.process.terminate()

        assert operator.process.wait(10) == 0
        assert time.monotonic() - began < 5


def test_an_operator_outlives_its_api_server(tmp_path: Path) -> None:
    with ApiTier() as tier:
        tier.install_crds()
        tier.make_namespace("stoker")
        with Objects(tier, "stoker") as objects:
            grant_rights(Helm.at_home(tmp_path), objects)
            with OperatorProcess(tier, "stoker", tmp_path) as operator:
                objects.apply(model("before", warm=True))
                eventually(lambda: "before" in objects.names("Deployment"))

                tier.stop_server()
                time.sleep(3)
                tier.start_server()
                objects.apply(model("after", warm=True))

                eventually(lambda: "after" in objects.names("Deployment"))
                operator.healthy()
                assert operator.process is not None
                assert operator.process.poll() is None, "the same process went on"


def test_an_operator_that_starts_before_the_crd_waits_for_it(tmp_path: Path) -> None:
    with ApiTier() as tier:
        tier.make_namespace("stoker")
        with Objects(tier, "stoker") as objects:
            grant_rights(Helm.at_home(tmp_path), objects)
            with OperatorProcess(tier, "stoker", tmp_path) as operator:
                eventually(lambda: operator.health() == 503)

                tier.install_crds()
                objects.apply(model("m", warm=True))

                eventually(lambda: "m" in objects.names("Deployment"))
                operator.healthy()
