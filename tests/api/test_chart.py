"""The chart on a real API server that enforces Pod Security *restricted*: what it makes is taken, what it grants is what is used.

The server is one of its own, because a release takes the whole cluster for its CRDs.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.access import USERS
from e2e.cluster.apitier import ApiTier
from e2e.commands import CommandError
from tests.chart.helm import CHART, EVERYTHING, NAMESPACE, RELEASE, Helm
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

LEVEL = "restricted"
KINDS = (
    "deployments.apps,replicasets.apps,pods,services,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,"
    "poddisruptionbudgets,modeldeployments.stoker.dev"
)
BY_KUBERNETES = {"serviceaccount/default", "configmap/kube-root-ca.crt"}

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
OURS, SCALE, STATUS = "modeldeployments", "modeldeployments/scale", "modeldeployments/status"
NEEDED: dict[str, list[Right]] = {
    "operator": [
        *(("stoker.dev", OURS, verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        ("stoker.dev", STATUS, "patch"),
        *(("apps", "deployments", verb) for verb in ("get", "list", "watch", "create", "patch")),
        *(("", "configmaps", verb) for verb in ("get", "list", "watch", "create", "patch")),
        *(("", "pods", verb) for verb in ("list", "watch")),
        ("", "persistentvolumeclaims", "get"),
        ("", "events", "create"),
    ],
    "orchestrator": [
        *(("stoker.dev", OURS, verb) for verb in ("list", "watch")),
        ("stoker.dev", SCALE, "patch"),
        ("stoker.dev", STATUS, "patch"),
        *(("", "pods", verb) for verb in ("list", "watch")),
    ],
}
NEVER: list[Right] = [
    *(("", "secrets", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *(("", "pods", verb) for verb in ("create", "patch", "delete")),
    ("", "pods/exec", "create"),
    ("", "pods/log", "get"),
    ("", "serviceaccounts/token", "create"),
    ("", "nodes", "list"),
    ("", "namespaces", "list"),
    ("apps", "deployments", "delete"),
    ("apps", "daemonsets", "create"),
    ("batch", "jobs", "create"),
    ("rbac.authorization.k8s.io", "roles", "escalate"),
    ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "patch"),
]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm.at_home(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def tier() -> Iterator[ApiTier]:
    with ApiTier(controllers=True) as tier:
        for name in (NAMESPACE, "elsewhere"):
            tier.make_namespace(name)
            levels = [f"pod-security.kubernetes.io/{mode}={LEVEL}" for mode in ("enforce", "warn")]
            tier.kubectl("label", "namespace", name, *levels)
        yield tier


@pytest.fixture(scope="module")
def installed(tier: ApiTier, helm: Helm) -> ApiTier:
    """With the release, as a user installs it."""
    helm.run("install", RELEASE, CHART, "--namespace", NAMESPACE, "--kubeconfig", tier.kubeconfig(), values=EVERYTHING)
    return tier


def names(tier: ApiTier) -> set[str]:
    return set(tier.kubectl("get", KINDS, "--namespace", NAMESPACE, "--output", "name").split()) - BY_KUBERNETES


def pods(tier: ApiTier) -> list[str]:
    component = "jsonpath={.items[*].metadata.labels.app\\.kubernetes\\.io/component}"
    return sorted(tier.kubectl("get", "pods", "--namespace", NAMESPACE, "--output", component).split())


def try_out(tier: ApiTier, manifests: str) -> None:
    """Let the server judge without storing. Raises CommandError also where it only warns."""
    tier.kubectl("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename", "-", text_in=manifests)


def refused(tier: ApiTier, user: str, rights: list[Right], namespace: str) -> list[Right]:
    """Those of the rights that the user does not have in the namespace."""
    reviews = [review(user, right, namespace) for right in rights]
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    answers = tier.kubectl("create", "--filename", "-", "--output", "jsonpath={.status.allowed} ", text_in=listing).split()
    return [right for right, answer in zip(rights, answers, strict=True) if answer != "true"]


def review(user: str, right: Right, namespace: str) -> dict[str, Any]:
    group, resource, verb = right
    kind, _, subresource = resource.partition("/")
    asked = {"group": group, "resource": kind, "subresource": subresource, "verb": verb, "namespace": namespace}
    spec = {"user": USERS[user].name, "groups": list(USERS[user].groups), "resourceAttributes": asked}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def owned(kind: str, name: str, owner: str, tier: ApiTier, spec: dict[str, Any]) -> str:
    """A manifest of an object that goes with its owner, as the operator makes it."""
    found = json.loads(tier.kubectl("get", owner, "--namespace", NAMESPACE, "--output", "json"))
    reference = {"apiVersion": found["apiVersion"], "kind": found["kind"], "name": found["metadata"]["name"]}
    metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [reference | {"uid": found["metadata"]["uid"]}]}
    version = "apps/v1" if kind == "Deployment" else "stoker.dev/v1alpha1"
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_server_takes_every_object_without_a_warning(tier: ApiTier, helm: Helm, values: dict[str, Any]) -> None:
    try_out(tier, helm.rendered(values))


def test_a_pod_that_may_be_root_is_warned_of(tier: ApiTier, helm: Helm) -> None:
    with pytest.raises(CommandError, match="restricted"):
        try_out(tier, helm.rendered().replace("runAsNonRoot: true", "runAsNonRoot: false"))


def test_the_pods_are_admitted_where_restricted_is_enforced(installed: ApiTier) -> None:
    assert eventually(lambda: len(pods(installed)) == 3, seconds=30)
    assert pods(installed) == ["operator", "orchestrator", "orchestrator"]


@pytest.mark.parametrize("user", NEEDED)
def test_a_program_may_do_what_it_does_and_only_in_its_namespace(installed: ApiTier, user: str) -> None:
    assert refused(installed, user, NEEDED[user], NAMESPACE) == []
    assert refused(installed, user, NEEDED[user], "elsewhere") == NEEDED[user]


@pytest.mark.parametrize("user", NEEDED)
def test_a_program_may_not_read_secrets_or_gain_rights(installed: ApiTier, user: str) -> None:
    assert refused(installed, user, NEVER, NAMESPACE) == NEVER


@pytest.mark.parametrize("user", NEEDED)
def test_a_role_grants_nothing_that_is_not_needed(installed: ApiTier, user: str) -> None:
    role = json.loads(installed.kubectl("get", "role", f"{RELEASE}-{user}", "--namespace", NAMESPACE, "--output", "json"))
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == set(NEEDED[user])


def test_uninstalling_leaves_the_crds_and_what_people_wrote(installed: ApiTier, helm: Helm) -> None:
    model = {"pipeline": "text-to-image", "modelId": "org/model"}
    labels = {"app": "worker"}
    workers = {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
        "containers": [{"name": "worker", "image": "stoker.dev/worker:1"}]}}}  # fmt: skip
    by_hand = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "by-hand"}, "spec": model}
    create = ("create", "--namespace", NAMESPACE, "--filename", "-")
    installed.kubectl(*create, text_in=json.dumps(by_hand))
    installed.kubectl(*create, text_in=owned("ModelDeployment", "listed", f"configmap/{RELEASE}-models", installed, model))
    installed.kubectl(*create, text_in=owned("Deployment", "listed", "modeldeployment/listed", installed, workers))
    assert {"modeldeployment.stoker.dev/listed", "deployment.apps/listed"} <= names(installed)

    helm.program("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--kubeconfig", installed.kubeconfig())

    kept = {"modeldeployment.stoker.dev/by-hand"}
    eventually(lambda: names(installed) == kept, seconds=90)
    assert "modeldeployments.stoker.dev" in installed.kubectl("get", "crds", "--output", "name")
