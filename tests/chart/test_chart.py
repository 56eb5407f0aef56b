"""The chart without a cluster: its suites, its manifests against Kubernetes' schemas, its values against their documentation."""

import json
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cache import ROOT
from e2e.commands import CommandError
from stoker_contracts import names
from stoker_contracts.models_config import parse
from stoker_operator.app.settings import Settings as OperatorSettings
from stoker_orchestrator.app.settings import Settings as OrchestratorSettings
from tests.chart.helm import CHART, EVERYTHING, NAMESPACE, RELEASE, Helm, variables
from tests.chart.schemas import CRD, LOCATION, schemas
from tools.chart_values import rendered as generated
from tools.dashboard import dashboard

pytestmark = pytest.mark.chart

SUITES = sorted((CHART / "tests").glob("*_test.yaml"))
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
EMPTY = ("worker.weights",)
"""Mappings whose parts have no default."""
MAY_GO = (
    "operator.resources",
    "orchestrator.resources",
    "worker.resources",
    "worker.compileCache.claim",
    "grafanaDashboard.labels",
)
"""Mappings with a default that may be null, as their parts may: nothing said has a meaning there."""
EMPTIES: tuple[Any, ...] = ("", [], {}, None)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def conform(helm: Helm, manifests: str) -> str:
    return helm.program("kubeconform", "-strict", "-summary", "-schema-location", f"{schemas()}/{LOCATION}", text_in=manifests)


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    found = [each for each in objects if each["kind"] == kind]
    assert found, f"the chart makes no {kind}"
    return found


def config_map(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"] == f"{RELEASE}-{name}")
    return found


def named_schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of the values whose keys are known, by its path."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" in schema:
        yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from named_schemas(part, f"{path}.{name}".lstrip("."))


def paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from paths(value, f"{above}{name}.")


def test_helm_finds_nothing_to_criticise(helm: Helm) -> None:
    helm.run("lint", "--strict", CHART)
    helm.run("lint", "--strict", CHART, values=EVERYTHING)


@pytest.mark.parametrize("suite", SUITES, ids=lambda file: file.stem.removesuffix("_test"))
def test_a_suite_of_the_chart_holds(helm: Helm, suite: Path) -> None:
    said = helm.program("helm-unittest", "--strict", "--file", str(suite.relative_to(CHART)), CHART)
    assert re.search(r"Tests:\s+[1-9]\d* passed", said), said


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_manifest_fits_the_schema_of_its_kind(helm: Helm, values: dict[str, Any]) -> None:
    assert "Invalid: 0, Errors: 0, Skipped: 0" in conform(helm, helm.rendered(values))


def test_a_misspelt_field_does_not_fit(helm: Helm) -> None:
    misspelt = helm.rendered().replace("automountServiceAccountToken: true", "autoMountServiceAccountToken: true")
    with pytest.raises(CommandError, match="autoMountServiceAccountToken"):
        conform(helm, misspelt)


def test_the_demonstrations_resource_fits_the_schema_of_our_crd(helm: Helm) -> None:
    by_hand = (ROOT / "e2e/demo/by-hand.yaml").read_text()
    conform(helm, by_hand)
    with pytest.raises(CommandError, match="warmth"):
        conform(helm, by_hand.replace("warm:", "warmth:"))


def test_the_crd_is_the_generated_one_but_for_its_metadata(helm: Helm) -> None:
    (crd,) = of_kind(helm.objects(), "CustomResourceDefinition")
    assert crd["spec"] == yaml.safe_load(CRD.read_text())["spec"]


def test_every_object_stands_in_the_releases_namespace(helm: Helm) -> None:
    elsewhere = [each for each in helm.objects(EVERYTHING) if each["metadata"].get("namespace") != NAMESPACE]
    assert [each["kind"] for each in elsewhere] == ["CustomResourceDefinition"]


def test_no_role_reaches_beyond_what_is_listed(helm: Helm) -> None:
    objects = helm.objects(EVERYTHING)
    assert not [each for each in objects if each["kind"].startswith("ClusterRole")]
    rights = [
        (role["metadata"]["name"], group, resource, verb)
        for role in of_kind(objects, "Role")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    forbidden = {"*", "secrets", "serviceaccounts", "roles", "rolebindings", "nodes", "impersonate", "escalate", "bind"}
    assert not [right for right in rights if forbidden & set(right)]
    assert not [right for right in rights if right[2].startswith("pods/")]


def test_only_the_pods_that_speak_to_the_api_server_get_a_token(helm: Helm) -> None:
    objects = helm.objects()
    assert not any(account["automountServiceAccountToken"] for account in of_kind(objects, "ServiceAccount"))
    assert all(each["spec"]["template"]["spec"]["automountServiceAccountToken"] for each in of_kind(objects, "Deployment"))


def test_the_orchestrator_takes_the_settings_that_it_is_given(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    given = variables(helm.objects(), "orchestrator")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = OrchestratorSettings()
    assert {name.removeprefix("STOKER_").lower() for name in given} <= OrchestratorSettings.model_fields.keys()
    assert settings.namespace == NAMESPACE
    assert settings.max_body_bytes == VALUES["orchestrator"]["maxBodyBytes"]
    assert settings.port == names.ORCHESTRATOR_PORT


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_operator_takes_the_settings_that_it_is_given(
    helm: Helm, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = variables(helm.objects(values), "operator")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = OperatorSettings()
    assert {name.removeprefix("STOKER_").lower() for name in given} <= OperatorSettings.model_fields.keys()
    assert settings.namespace == NAMESPACE
    assert settings.worker.image == "stoker.dev/worker:0.1.0"
    assert settings.worker.env == values.get("worker", {}).get("env", {})
    assert settings.worker.compile_cache.size_limit == ("1073741824" if values else "2Gi")
    assert settings.worker.compile_cache.claim.name == ("compiled" if values else "")


def test_the_models_come_out_as_they_went_in(helm: Helm) -> None:
    config = config_map(helm.objects(EVERYTHING), "models")
    assert config["metadata"]["labels"][names.LABEL_MODELS_CONFIG] == "true"
    content = config["data"][names.MODELS_CONFIG_KEY]
    assert json.loads(content) == EVERYTHING["models"]
    assert [model.model_id for model in parse(content).models] == ["stabilityai/sdxl-turbo"]


def test_grafana_gets_the_dashboard_as_it_was_generated(helm: Helm) -> None:
    (content,) = config_map(helm.objects(EVERYTHING), "dashboard")["data"].values()
    assert json.loads(content) == dashboard()


def test_workers_are_guarded_by_their_label_and_port(helm: Helm) -> None:
    (policy,) = (each for each in of_kind(helm.objects(), "NetworkPolicy") if each["metadata"]["name"].endswith("-workers"))
    (expression,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert expression["key"] == names.LABEL_MODEL_DEPLOYMENT
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": names.WORKER_PORT, "protocol": "TCP"}]


def test_no_mapping_of_the_values_takes_an_unknown_key() -> None:
    open_ones = [path for path, schema in named_schemas(SCHEMA) if schema.get("additionalProperties") is not False]
    assert not open_ones


def test_every_key_that_the_schema_knows_has_a_default() -> None:
    defaults = set(paths(VALUES))
    known = {f"{path}.{name}".lstrip(".") for path, schema in named_schemas(SCHEMA) for name in schema["properties"]}
    below_an_empty_default = {path for path in known if any(path.startswith(f"{parent}.") for parent in EMPTY)}
    assert known - defaults - below_an_empty_default == {"global"}


def emptied(values: dict[str, Any]) -> dict[str, Any]:
    """null for every value that is empty, in the mappings where it stands."""
    below = {name: emptied(value) for name, value in values.items() if isinstance(value, dict) and value}
    return {name: part for name, part in below.items() if part} | {name: None for name, value in values.items() if value in EMPTIES}


def test_null_means_the_same_as_an_empty_value(helm: Helm) -> None:
    nulls = emptied(VALUES)
    nulls["grafanaDashboard"]["enabled"] = True
    assert helm.rendered(nulls) == helm.rendered({"grafanaDashboard": {"enabled": True}})
    assert helm.rendered({"worker": {"compileCache": {"claim": None}}}) == helm.rendered()


def test_every_other_value_is_refused_when_it_is_null() -> None:
    for path, schema in named_schemas(SCHEMA):
        if path.startswith((*MAY_GO, *EMPTY)):
            continue
        defaults = reduce(dict.__getitem__, path.split("."), VALUES) if path else VALUES
        told = {name for name in defaults if defaults[name] not in EMPTIES and f"{path}.{name}".lstrip(".") not in MAY_GO}
        assert set(schema.get("required", ())) == told, path


def test_the_reference_and_the_schemas_descriptions_are_up_to_date() -> None:
    stale = [file.name for file, text in generated().items() if file.read_text() != text]
    assert not stale, "run make chart-values"


def test_the_package_holds_no_tests(helm: Helm, tmp_path: Path) -> None:
    helm.program("helm", "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("stoker-*.tgz")
    listed = helm.program("helm", "show", "all", package)
    assert "suite:" not in listed
