"""The chart on a real API server that enforces Pod Security *restricted*: what it makes is taken, what it grants is what is used.

The server is one of its own, because a release takes the whole cluster for its CRDs.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import httpx2
import pytest

from e2e.cluster.access import USERS
from e2e.cluster.apitier import ApiTier
from e2e.commands import CommandError
from tests.chart.helm import CHART, EVERYTHING, NAMESPACE, RELEASE, Helm, variables
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.api

LEVEL = "restricted"
LOOPBACK = "127.0.0.1"
INSTALLED: dict[str, Any] = {
    "models": [
        {"pipeline": "text-to-image", "model_id": "org/warm", "warm": True, "optimization_flags": {"TORCH_COMPILE": True}},
        {"pipeline": "text-to-image", "model_id": "org/cold"},
        {"pipeline": "text-to-music", "model_id": "org/bad"},
    ],
    "worker": {"engine": "stub", "gpu": {"count": 0}, "compileCache": {"claim": {"name": "compiled"}}},
}
WARM, COLD = "t2i-org-warm", "t2i-org-cold"
GET_MODEL = ("get", "modeldeployments.stoker.dev", "--namespace", NAMESPACE)
KINDS = (
    "deployments.apps,replicasets.apps,pods,services,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,"
    "poddisruptionbudgets,modeldeployments.stoker.dev"
)
BY_KUBERNETES = {"serviceaccount/default", "configmap/kube-root-ca.crt"}

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
OURS, SCALE, STATUS, LEASES = "modeldeployments", "modeldeployments/scale", "modeldeployments/status", "leases"
NEEDED: dict[str, list[Right]] = {
    "operator": [
        *(("stoker.dev", OURS, verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        ("stoker.dev", STATUS, "patch"),
        *(("apps", "deployments", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *(("", "configmaps", verb) for verb in ("get", "list", "watch", "create", "patch")),
        *(("", "pods", verb) for verb in ("list", "watch")),
        ("", "persistentvolumeclaims", "get"),
        ("", "events", "create"),
    ],
    "orchestrator": [
        *(("stoker.dev", OURS, verb) for verb in ("list", "watch")),
        ("stoker.dev", SCALE, "patch"),
        ("stoker.dev", STATUS, "patch"),
        *(("", "pods", verb) for verb in ("list", "watch", "patch")),
        *(("coordination.k8s.io", LEASES, verb) for verb in ("get", "patch", "create")),
    ],
}
NEVER: list[Right] = [
    *(("", "secrets", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *(("", "pods", verb) for verb in ("create", "delete")),
    ("", "pods/exec", "create"),
    ("", "pods/log", "get"),
    ("", "serviceaccounts/token", "create"),
    ("", "nodes", "list"),
    ("", "namespaces", "list"),
    ("apps", "daemonsets", "create"),
    ("batch", "jobs", "create"),
    ("coordination.k8s.io", LEASES, "delete"),
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
    install(tier, helm)
    return tier


@dataclass(frozen=True, slots=True)
class Lived:
    """A release whose programs have done their first work, as processes of this host, and what they logged."""

    tier: ApiTier
    log: str


@pytest.fixture(scope="module")
def lived_in(installed: ApiTier, helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    log = tmp_path_factory.mktemp("programs") / "log"
    port = free_port()
    operator = {"STOKER_HEALTH_HOST": LOOPBACK, "STOKER_HEALTH_PORT": str(free_port())}
    orchestrator = {"STOKER_HOST": LOOPBACK, "STOKER_PORT": str(port), "STOKER_PEER_PORT": "0"}
    with (
        log.open("w") as output,
        program(installed, helm, "operator", operator, output),
        program(installed, helm, "orchestrator", orchestrator, output),
    ):
        eventually(lambda: conditions(installed, WARM) >= {"Ready", "Advertised"}, seconds=60)
        eventually(lambda: conditions(installed, COLD) >= {"Ready", "Advertised"})
        ask_for_a_picture(port)
        eventually(lambda: replicas(installed, COLD) == "1")
    return Lived(installed, log.read_text())


@contextmanager
def program(tier: ApiTier, helm: Helm, name: str, changed: dict[str, str], output: IO[str]) -> Iterator[None]:
    """One of the release's programs with the environment of its pod and the rights of its account."""
    given = variables(helm.objects(INSTALLED), name) | {"STOKER_KUBECONFIG": str(tier.kubeconfig(name))} | changed
    command = [sys.executable, "-m", f"stoker_{name}"]
    with subprocess.Popen(command, env=given, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def ask_for_a_picture(port: int) -> None:
    """Send a job for the cold model: it is woken, and the job is refused once the cluster, which has no node, says so."""
    job = {"model_id": "org/cold", "prompt": "a lighthouse"}
    answer = httpx2.post(f"http://{LOOPBACK}:{port}/text-to-image", json=job, timeout=60)
    assert answer.status_code == 503, answer.text


def conditions(tier: ApiTier, model: str) -> set[str]:
    found = tier.kubectl(*GET_MODEL, model, "--output", "jsonpath={.status.conditions[*].type}", "--ignore-not-found")
    return set(found.split())


def replicas(tier: ApiTier, model: str) -> str:
    return tier.kubectl(*GET_MODEL, model, "--output", "jsonpath={.spec.replicas}")


def install(tier: ApiTier, helm: Helm) -> None:
    helm.run("install", RELEASE, CHART, "--namespace", NAMESPACE, "--kubeconfig", tier.kubeconfig(), values=INSTALLED)


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
    asked |= {"name": f"{RELEASE}-orchestrator"} if resource == LEASES else {}
    spec = {"user": USERS[user].name, "groups": list(USERS[user].groups), "resourceAttributes": asked}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_server_takes_every_object_without_a_warning(tier: ApiTier, helm: Helm, values: dict[str, Any]) -> None:
    try_out(tier, helm.rendered(values))


def test_a_pod_that_may_be_root_is_warned_of(tier: ApiTier, helm: Helm) -> None:
    with pytest.raises(CommandError, match="restricted"):
        try_out(tier, helm.rendered().replace("runAsNonRoot: true", "runAsNonRoot: false"))


def test_the_pods_are_admitted_where_restricted_is_enforced(installed: ApiTier) -> None:
    eventually(lambda: pods(installed) == ["operator", "orchestrator", "orchestrator"], seconds=30)


@pytest.mark.parametrize("user", NEEDED)
def test_a_program_may_do_what_it_does_and_only_in_its_namespace(installed: ApiTier, user: str) -> None:
    assert refused(installed, user, NEEDED[user], NAMESPACE) == []
    assert refused(installed, user, NEEDED[user], "elsewhere") == NEEDED[user]


@pytest.mark.parametrize("user", NEEDED)
def test_a_program_may_not_read_secrets_or_gain_rights(installed: ApiTier, user: str) -> None:
    never = [right for right in NEVER if right not in NEEDED[user]]
    assert refused(installed, user, never, NAMESPACE) == never


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


def test_the_operator_makes_what_the_models_say(lived_in: Lived) -> None:
    assert {f"deployment.apps/{WARM}", f"deployment.apps/{COLD}"} <= names(lived_in.tier)
    assert conditions(lived_in.tier, WARM) >= {"Accepted", "WeightsReady", "Ready", "Warm"}


def test_a_bad_entry_is_reported_and_told_of(lived_in: Lived) -> None:
    report = lived_in.tier.kubectl("get", "configmap", f"{RELEASE}-models-report", "--namespace", NAMESPACE, "--output", "yaml")
    assert "UnknownPipeline" in report
    about = f"involvedObject.name={RELEASE}-models"
    assert lived_in.tier.kubectl("get", "events", "--namespace", NAMESPACE, "--field-selector", about, "--output", "name")


def test_the_orchestrator_advertises_and_wakes(lived_in: Lived) -> None:
    assert "Advertised" in conditions(lived_in.tier, WARM)
    assert replicas(lived_in.tier, COLD) == "1"


def test_worker_pods_are_admitted_where_restricted_is_enforced(lived_in: Lived) -> None:
    workers = ("get", "pods", "--namespace", NAMESPACE, "--selector", f"stoker.dev/model-deployment={WARM}")
    claims = ("--output", "jsonpath={.items[*].spec.volumes[*].persistentVolumeClaim.claimName}")
    assert eventually(lambda: lived_in.tier.kubectl(*workers, *claims), seconds=30) == "compiled"


def test_the_programs_were_refused_nothing(lived_in: Lived) -> None:
    assert "forbidden" not in lived_in.log.lower()


def test_uninstalling_leaves_the_crds_and_what_people_wrote_and_a_place_to_come_back_to(lived_in: Lived, helm: Helm) -> None:
    tier = lived_in.tier
    spec = {"pipeline": "text-to-image", "modelId": "org/by-hand"}
    by_hand = {"apiVersion": "stoker.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "by-hand"}, "spec": spec}
    tier.kubectl("create", "--namespace", NAMESPACE, "--filename", "-", text_in=json.dumps(by_hand))

    helm.program("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--kubeconfig", tier.kubeconfig())

    eventually(lambda: names(tier) == {"modeldeployment.stoker.dev/by-hand"}, seconds=90)
    assert "modeldeployments.stoker.dev" in tier.kubectl("get", "crds", "--output", "name")
    install(tier, helm)


def test_a_release_of_another_name_leaves_the_crds_to_the_first_on_request(installed: ApiTier, helm: Helm) -> None:
    there = ("--namespace", "elsewhere", "--kubeconfig", installed.kubeconfig())
    with pytest.raises(CommandError, match=r"modeldeployments\.stoker\.dev"):
        helm.run("install", "second", CHART, *there)
    helm.run("install", "second", CHART, *there, values={"crds": {"install": False}})
