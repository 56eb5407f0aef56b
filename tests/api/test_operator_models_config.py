"""Models configs on a real API server: resources come, change and go with their entries."""

from collections.abc import Iterator

import pytest

from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from tests.chart.helm import Helm
from tests.support.api_objects import Objects, entry, model, models_config
from tests.support.operator_process import OperatorProcess, grant_rights
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

BAD = {"pipeline": "text-to-music", "model_id": "org/bad"}


@pytest.fixture
def objects(api_tier: ApiTier, kubelet: FakeKubelet, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    """A namespace that an operator serves."""
    with Objects(api_tier, namespace) as objects:
        grant_rights(Helm.at_home(tmp_path_factory.mktemp("helm")), objects)
        with OperatorProcess(api_tier, namespace, tmp_path_factory.mktemp("operator")):
            yield objects


def test_a_models_config_becomes_warm_and_cold_models_and_a_bad_entry_is_reported(objects: Objects, api_tier: ApiTier) -> None:
    objects.apply(models_config("models", entry("org/a", warm=True), entry("org/b"), BAD))

    eventually(lambda: objects.condition("t2i-org-a", "Warm")[:2] == ("True", "Loaded"))
    eventually(lambda: objects.condition("t2i-org-b")[:2] == ("True", "Startable"))
    assert objects.names("ModelDeployment") == {"t2i-org-a", "t2i-org-b"}
    assert objects.the("ModelDeployment", "t2i-org-a")["status"]["warm"] == "1/1"
    report = eventually(lambda: objects.report("models"))
    assert [each.get("reason") for each in report["entries"]] == [None, None, "UnknownPipeline"]
    eventually(lambda: "UnknownPipeline" in {each["reason"] for each in objects.all("Event")})
    table = api_tier.kubectl("get", "smd", "-n", objects.namespace)
    assert "Serving" in table
    assert "Startable" in table


def test_an_edit_reaches_the_pods_and_an_entry_that_goes_takes_its_model_along(objects: Objects) -> None:
    objects.apply(models_config("models", entry("org/a", warm=True), entry("org/b", warm=True)))
    eventually(lambda: {objects.reason("t2i-org-a"), objects.reason("t2i-org-b")} == {"Serving"})

    objects.apply(models_config("models", entry("org/a", warm=True, capacity=3), entry("org/c")))

    def capacities() -> set[str]:
        containers = [pod["spec"]["containers"][0] for pod in objects.pods("t2i-org-a")]
        return {each["value"] for container in containers for each in container["env"] if each["name"] == "CAPACITY"}

    eventually(lambda: capacities() == {"3"})
    eventually(lambda: objects.names("ModelDeployment") == {"t2i-org-a", "t2i-org-c"})
    eventually(lambda: objects.names("Deployment") == {"t2i-org-a", "t2i-org-c"})
    eventually(lambda: not objects.pods("t2i-org-b"))


def test_what_activity_scaled_is_not_undone_by_an_edit(objects: Objects) -> None:
    objects.apply(models_config("models", entry("org/a")))
    eventually(lambda: objects.reason("t2i-org-a") == "Startable")
    objects.merge("ModelDeployment", "t2i-org-a", {"spec": {"replicas": 1}}, "/scale")
    eventually(lambda: objects.reason("t2i-org-a") == "Serving")

    objects.apply(models_config("models", entry("org/a", capacity=2)))

    eventually(lambda: objects.the("ModelDeployment", "t2i-org-a")["spec"]["capacity"] == 2)
    assert objects.the("ModelDeployment", "t2i-org-a")["spec"]["replicas"] == 1


@pytest.fixture
def forbidden(objects: Objects) -> Iterator[str]:
    """A model that the cluster's owner does not let anybody serve in this namespace."""
    name = f"forbidden.{objects.namespace}"
    version = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["stoker.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["modeldeployments"]}
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.modelId != 'org/forbidden'", "message": "this model may not be served here"}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": objects.namespace}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    objects.apply({"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": policy})
    objects.apply({"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding})
    eventually(lambda: objects.refuses(model("probe", modelId="org/forbidden")))
    yield "org/forbidden"
    objects.delete("ValidatingAdmissionPolicyBinding", name)
    objects.delete("ValidatingAdmissionPolicy", name)


def test_an_entry_that_the_api_server_refuses_is_reported_and_its_neighbours_live(objects: Objects, forbidden: str) -> None:
    objects.apply(models_config("models", entry(forbidden), entry("org/b")))

    eventually(lambda: objects.reason("t2i-org-b") == "Startable")
    first, second = eventually(lambda: objects.report("models"))["entries"]
    assert (first["accepted"], first["reason"], second["accepted"]) == (False, "Refused", True)
    assert "this model may not be served here" in first["message"]


@pytest.mark.parametrize("text", ["[", '{"pipeline": "text-to-image"}'])
def test_a_config_that_is_no_list_changes_nothing_and_is_reported(objects: Objects, text: str) -> None:
    objects.apply(models_config("models", entry("org/a")))
    eventually(lambda: objects.names("ModelDeployment") == {"t2i-org-a"})

    objects.apply(models_config("models", text=text))

    eventually(lambda: "nothing was changed" in str(objects.report("models").get("error")))
    assert objects.names("ModelDeployment") == {"t2i-org-a"}


def test_a_resource_that_a_person_made_is_never_taken_over(objects: Objects) -> None:
    objects.apply(model("t2i-org-a", modelId="org/by-hand"))
    objects.apply(models_config("models", entry("org/a", warm=True), entry("org/b")))

    report = eventually(lambda: objects.report("models"))
    assert [each.get("reason") for each in report["entries"]] == ["NameTaken", None]
    by_hand = objects.the("ModelDeployment", "t2i-org-a")
    assert by_hand["spec"]["modelId"] == "org/by-hand"
    assert "ownerReferences" not in by_hand["metadata"]

    objects.delete("ModelDeployment", "t2i-org-a")
    eventually(lambda: objects.reason("t2i-org-a") == "Serving")
    eventually(lambda: objects.report("models")["entries"][0]["accepted"])


def test_of_two_configs_that_want_one_model_the_older_gets_it_and_the_other_after_it(objects: Objects) -> None:
    objects.apply(models_config("older", entry("org/a")))
    eventually(lambda: objects.names("ModelDeployment") == {"t2i-org-a"})
    uid = objects.the("ModelDeployment", "t2i-org-a")["metadata"]["uid"]

    # Ages are compared in seconds; the name decides between twins.
    objects.apply(models_config("younger", entry("org/a", capacity=2), entry("org/b")))
    eventually(lambda: objects.names("ModelDeployment") == {"t2i-org-a", "t2i-org-b"})
    assert eventually(lambda: objects.report("younger"))["entries"][0]["reason"] == "ListedElsewhere"
    assert objects.the("ModelDeployment", "t2i-org-a")["spec"]["capacity"] == 1

    objects.apply(models_config("older"))
    eventually(lambda: objects.the("ModelDeployment", "t2i-org-a")["spec"]["capacity"] == 2)
    assert objects.the("ModelDeployment", "t2i-org-a")["metadata"]["uid"] == uid, "it was handed over, not made anew"


def test_a_deleted_config_leaves_nothing_behind(objects: Objects) -> None:
    objects.apply(models_config("models", entry("org/a", warm=True), BAD))
    eventually(lambda: objects.reason("t2i-org-a") == "Serving")

    objects.delete("ConfigMap", "models")

    eventually(lambda: not objects.names("ModelDeployment") | objects.names("Deployment") | objects.names("Pod"))
    eventually(lambda: "models-report" not in objects.names("ConfigMap"))


def test_a_model_whose_name_was_another_models_replaces_it(objects: Objects) -> None:
    objects.apply(models_config("models", entry("org/a")))
    eventually(lambda: objects.reason("t2i-org-a") == "Startable")

    objects.apply(models_config("models", entry("Org A", warm=True)))

    eventually(lambda: objects.reason("t2i-org-a") == "Serving")
    assert objects.the("ModelDeployment", "t2i-org-a")["spec"]["modelId"] == "Org A"


def test_a_resource_of_a_config_that_somebody_edits_or_deletes_is_put_right(objects: Objects) -> None:
    objects.apply(models_config("models", entry("org/a")))
    eventually(lambda: objects.names("ModelDeployment") == {"t2i-org-a"})

    objects.merge("ModelDeployment", "t2i-org-a", {"spec": {"warm": True}})
    eventually(lambda: not objects.the("ModelDeployment", "t2i-org-a")["spec"]["warm"])

    uid = objects.the("ModelDeployment", "t2i-org-a")["metadata"]["uid"]
    objects.delete("ModelDeployment", "t2i-org-a")
    eventually(lambda: (objects.get("ModelDeployment", "t2i-org-a") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)
