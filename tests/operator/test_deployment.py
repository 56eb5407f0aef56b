"""The Deployment that is made of a ModelDeployment."""

from typing import Any

import pytest

from stoker_operator.domain.manifests.deployment import deployment
from stoker_operator.domain.wanted import wanted
from tests.support import resources as made


def rendered(defaults: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    resource = made.resource(**spec)
    return deployment(resource, wanted(resource["spec"], made.release(**(defaults or {}))))


def pod(defaults: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return dict(rendered(defaults, **spec)["spec"]["template"]["spec"])


def container(defaults: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    (only,) = pod(defaults, **spec)["containers"]
    return dict(only)


def environment(defaults: dict[str, Any] | None = None, **spec: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(defaults, **spec)["env"]}


def expressions(**require: Any) -> list[list[tuple[str, str, str]]]:
    affinity = pod(gpu={"count": 1, "require": require})["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [[(each["key"], each["operator"], ",".join(each["values"])) for each in term["matchExpressions"]] for term in terms]


@pytest.mark.parametrize("claim", ["", "cache"])
def test_the_pod_satisfies_pod_security_restricted(claim: str) -> None:
    defaults = {"compileCache": {"claim": {"name": claim}}}
    spec = pod(defaults, gpu={"count": 1}, optimization={"compile": True})
    (worker,) = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert all(set(volume) & {"emptyDir", "persistentVolumeClaim", "image"} for volume in spec["volumes"])
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert not worker["ports"][0].keys() & {"hostPort"}


def test_the_pod_has_no_way_to_the_api_server_and_knows_no_services() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False


def test_a_worker_is_not_the_first_process_of_its_namespace_and_so_hears_signals_from_the_start() -> None:
    assert pod()["shareProcessNamespace"] is True


def test_the_deployment_belongs_to_its_resource_and_has_its_name() -> None:
    metadata = rendered()["metadata"]

    assert metadata["name"] == "m"
    assert metadata["ownerReferences"] == [
        {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "name": "m", "uid": "uid-m", "controller": True}
    ]


def test_the_selector_finds_the_pods_and_users_cannot_change_that() -> None:
    labels = {"team": "x", "app.kubernetes.io/managed-by": "me", "stoker.dev/model-deployment": "other"}
    made_of = rendered(pod={"labels": labels, "annotations": {"a": "b"}})
    template = made_of["spec"]["template"]["metadata"]

    assert made_of["spec"]["selector"]["matchLabels"].items() <= template["labels"].items()
    assert template["labels"]["stoker.dev/model-deployment"] == "m"
    assert (template["labels"]["team"], template["annotations"]) == ("x", {"a": "b"})


def test_the_worker_is_told_everything_it_needs() -> None:
    told = environment(
        {"engine": "diffusers"}, capacity=3, optimization={"compile": True, "bfloat16": False},
        gpu={"count": 1, "memory": "24Gi"}, scaling={"drainTimeout": "90s"},
    )  # fmt: skip

    assert told == {
        "PIPELINE": "text-to-image", "MODEL_ID": "org/m", "MODEL_DIR": "/models", "ENGINE": "diffusers", "CAPACITY": "3",
        "PORT": "8000", "DRAIN_SECONDS": "90", "DEVICE": "cuda", "OPTIMIZATION": "compile", "COMPILE_CACHE_DIR": "/compiled",
        "GPU_MEMORY_BUDGET_BYTES": str(24 * 2**30),
    }  # fmt: skip


def test_users_variables_win_over_the_releases_and_ours_over_both() -> None:
    mine = [{"name": "STUB_SCRIPT", "value": "{}"}, {"name": "CAPACITY", "value": "99"}]
    told = environment({"env": {"STUB_SCRIPT": "release", "LOG_LEVEL": "DEBUG", "ENGINE": "evil"}}, pod={"env": mine})

    assert (told["STUB_SCRIPT"], told["LOG_LEVEL"], told["CAPACITY"], told["ENGINE"]) == ("{}", "DEBUG", "1", "stub")


def test_a_model_id_reaches_the_worker_byte_for_byte() -> None:
    assert environment(modelId="org/$(HOME)")["MODEL_ID"] == "org/$$(HOME)"


def test_a_worker_on_cards_asks_for_them_and_gets_shared_memory() -> None:
    worker = container({"resources": {"cpu": "2", "memory": "8Gi"}}, gpu={"count": 2})

    assert worker["resources"] == {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"memory": "8Gi", made.GPU: "2"}}
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in worker["volumeMounts"]


def test_a_worker_on_the_cpu_asks_for_no_card_and_may_use_idle_cores() -> None:
    worker = container(gpu={"count": 0, "require": {"minDeviceMemory": "40Gi"}}, resources={"cpu": "1"})

    assert worker["resources"] == {"requests": {"cpu": "1"}}
    assert environment()["DEVICE"] == "cpu"
    assert "affinity" not in pod(gpu={"count": 0, "require": {"minDeviceMemory": "40Gi"}})


def test_the_resource_name_of_cards_is_the_releases() -> None:
    assert container({"gpuResource": "amd.com/gpu"}, gpu={"count": 1})["resources"]["limits"] == {"amd.com/gpu": "1"}


def test_without_any_sizes_nothing_is_asked_for() -> None:
    assert container()["resources"] == {}


@pytest.mark.parametrize(
    ("weights", "volume", "mount"),
    [
        ({"claim": {"name": "models", "path": "sdxl/"}}, {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
         {"subPath": "sdxl"}),
        ({"claim": {"name": "models"}}, {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}, {}),
        ({"image": {"reference": "w:1"}}, {"image": {"reference": "w:1", "pullPolicy": "IfNotPresent"}}, {}),
    ],
)  # fmt: skip
def test_weights_are_mounted_read_only(weights: dict[str, Any], volume: dict[str, Any], mount: dict[str, str]) -> None:
    for spec in (pod(weights=weights), pod({"weights": weights})):
        assert {"name": "models"} | volume in spec["volumes"]
        assert {"name": "models", "mountPath": "/models", "readOnly": True} | mount in spec["containers"][0]["volumeMounts"]


def test_a_resources_weights_win_over_the_releases() -> None:
    spec = pod({"weights": {"claim": {"name": "models"}}}, weights={"image": {"reference": "w:1"}})

    assert [each for each in spec["volumes"] if each["name"] == "models"] == [
        {"name": "models", "image": {"reference": "w:1", "pullPolicy": "IfNotPresent"}}
    ]


def for_compiled_code(spec: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    volumes, mounts = spec["volumes"], spec["containers"][0]["volumeMounts"]
    return [each for each in volumes if each["name"] == "compiled"], [each for each in mounts if each["name"] == "compiled"]


def test_compiled_code_outlives_the_container_within_a_bound() -> None:
    volumes, mounts = for_compiled_code(pod({"compileCache": {"sizeLimit": "5Gi"}}, optimization={"compile": True}))

    assert volumes == [{"name": "compiled", "emptyDir": {"sizeLimit": "5Gi"}}]
    assert mounts == [{"name": "compiled", "mountPath": environment(optimization={"compile": True})["COMPILE_CACHE_DIR"]}]


@pytest.mark.parametrize(("path", "above"), [("", ""), ("/code/sd/", "code/sd/")])
def test_on_a_claim_each_model_has_a_folder_for_compiled_code_that_its_worker_may_write(path: str, above: str) -> None:
    defaults = {"compileCache": {"claim": {"name": "cache", "path": path}}}
    specs = [pod(defaults, modelId=model, optimization={"compile": True}) for model in ("org/m", "org/m", "org.m")]
    folders = [for_compiled_code(spec)[1][0]["subPath"] for spec in specs]

    assert for_compiled_code(specs[0])[0] == [{"name": "compiled", "persistentVolumeClaim": {"claimName": "cache"}}]
    assert folders[0] == folders[1] != folders[2]
    assert {folder.rpartition("/")[0] for folder in folders} == {above.rstrip("/")}
    assert specs[0]["securityContext"]["fsGroup"] == specs[0]["securityContext"]["runAsUser"]


@pytest.mark.parametrize("switches", [{}, {"compile": False}, {"bfloat16": True}])
def test_a_worker_that_compiles_nothing_has_no_folder_for_compiled_code(switches: dict[str, bool]) -> None:
    defaults = {"compileCache": {"claim": {"name": "cache"}}}
    spec = pod(defaults, optimization=switches)

    assert for_compiled_code(spec) == ([], [])
    assert "COMPILE_CACHE_DIR" not in environment(defaults, optimization=switches)
    assert "fsGroup" not in spec["securityContext"]


def test_a_stopping_worker_may_finish_its_longest_job() -> None:
    assert pod(scaling={"drainTimeout": "1m30s"})["terminationGracePeriodSeconds"] == 105


def test_probes_tell_readiness_within_seconds_and_let_a_load_take_long() -> None:
    worker = container(scaling={"startTimeout": "1h"})

    assert worker["readinessProbe"]["httpGet"]["path"] == worker["startupProbe"]["httpGet"]["path"] == "/ready"
    assert worker["readinessProbe"]["periodSeconds"] == 1
    assert worker["startupProbe"]["failureThreshold"] == 3600
    assert container()["startupProbe"]["failureThreshold"] == 1800
    assert worker["livenessProbe"]["httpGet"]["path"] == "/live"
    assert worker["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe"])
def test_a_worker_that_hangs_is_not_given_the_time_that_a_job_may_take(probe: str) -> None:
    assert container(scaling={"drainTimeout": "10m"})[probe]["terminationGracePeriodSeconds"] == 5


@pytest.mark.parametrize(("rollout", "surge", "missing"), [(None, 0, 1), ({"maxSurge": 1}, 1, 0)])
def test_a_new_worker_takes_the_place_of_the_old_one_unless_a_spare_is_allowed(rollout: Any, surge: int, missing: int) -> None:
    spec = {"rollout": rollout} if rollout else {}

    assert rendered(**spec)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": missing}


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({}, 0),
        ({"warm": True}, 1),
        ({"warm": True, "replicas": 5}, 1),
        ({"warm": True, "replicas": 2, "scaling": {"maxReplicas": 3}}, 2),
        ({"warm": True, "scaling": {"minReplicas": 0}}, 0),
        ({"replicas": 0, "scaling": {"minReplicas": 2, "maxReplicas": 3}}, 2),
        ({"warm": True, "scaling": {"mode": "Manual"}}, 0),
        ({"replicas": 7, "scaling": {"mode": "Manual", "maxReplicas": 3}}, 7),
    ],
)
def test_what_runs_is_what_is_asked_held_between_minimum_and_maximum(spec: dict[str, Any], replicas: int) -> None:
    assert rendered(**spec)["spec"]["replicas"] == replicas


def test_a_big_card_is_asked_for_by_the_labels_of_feature_discovery() -> None:
    assert expressions(minDeviceMemory="40Gi", products=["NVIDIA H200", "NVIDIA L40S"]) == [
        [("nvidia.com/gpu.memory", "Gt", "40959"), ("nvidia.com/gpu.product", "In", "NVIDIA-H200,NVIDIA-L40S")]
    ]


@pytest.mark.parametrize(
    ("asked", "terms"),
    [
        (">=9", [[("nvidia.com/gpu.compute.major", "Gt", "8")]]),
        (">=8.9", [[("nvidia.com/gpu.compute.major", "Gt", "8")],
                   [("nvidia.com/gpu.compute.major", "In", "8"), ("nvidia.com/gpu.compute.minor", "Gt", "8")]]),
    ],
)  # fmt: skip
def test_a_compute_capability_is_reached_by_a_higher_major_or_a_minor_as_high(asked: str, terms: Any) -> None:
    assert expressions(computeCapability=asked) == terms


def test_a_requirement_without_content_asks_for_nothing() -> None:
    assert "affinity" not in pod(gpu={"count": 1, "require": {}})


def test_placement_adds_the_users_wishes_to_the_releases() -> None:
    gpu_taint = {"key": made.GPU, "operator": "Exists"}
    defaults = {
        "nodeSelector": {"pool": "gpu", "zone": "a"}, "tolerations": [gpu_taint], "imagePullSecrets": [{"name": "one"}],
        "priorityClassName": "low", "runtimeClassName": "nvidia",
    }  # fmt: skip
    wishes = {
        "nodeSelector": {"zone": "b"}, "tolerations": [gpu_taint, {"key": "spot", "value": "yes"}],
        "imagePullSecrets": [{"name": "two"}, {"name": "one"}], "priorityClassName": "high",
    }  # fmt: skip
    spec = pod(defaults, gpu={"count": 1}, pod=wishes)

    assert spec["nodeSelector"] == {"pool": "gpu", "zone": "b"}
    assert spec["tolerations"] == [gpu_taint, {"key": "spot", "value": "yes"}]
    assert spec["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("high", "nvidia")
    assert "runtimeClassName" not in pod(defaults, gpu={"count": 0})


def test_the_releases_weights_name_one_source() -> None:
    with pytest.raises(ValueError, match="claim and image"):
        made.release(weights={"claim": {"name": "c"}, "image": {"reference": "w:1"}})


def test_a_misspelled_key_of_the_release_is_refused() -> None:
    with pytest.raises(ValueError, match="imagePullPolice"):
        made.release(imagePullPolice="Always")
