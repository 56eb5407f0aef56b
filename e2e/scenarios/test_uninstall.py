"""Installing and uninstalling leaves a namespace as it was."""

from e2e.release import RESOURCES, Release, exists, image_values, install, merged
from e2e.scenarios.conftest import SMALL
from e2e.scenarios.resources import pods, ready
from e2e.stage import Stage
from tests.support.waiting import eventually

KINDS = (
    "deployments,replicasets,pods,services,configmaps,roles,rolebindings,serviceaccounts,networkpolicies,"
    "poddisruptionbudgets,jobs,secrets,modeldeployments.stoker.dev"
)


def inventory(release: Release) -> set[str]:
    """Everything in the namespace, but for what Kubernetes itself puts there."""
    found = release.kubectl("get", KINDS, "--output", "name").split()
    return {name for name in found if name not in ("configmap/kube-root-ca.crt", "serviceaccount/default")}


def test_what_was_installed_is_gone_after_uninstalling_but_for_the_crds(stage: Stage, stub: Release) -> None:
    assert exists(stub.cluster, "crd", RESOURCES)
    models = [{"pipeline": "text-to-image", "model_id": "org/passing", "warm": True}]
    worker = {"engine": "stub", "gpu": {"count": 0}, "resources": SMALL}
    values = {"crds": {"install": False}, "models": models, "worker": worker}
    release = install(stage.cluster, "passing", 30937, merged(image_values(stage.images, "worker-stub"), values))
    eventually(lambda: any(ready(pod) for pod in pods(release, "t2i-org-passing")), seconds=90)

    release.uninstall()

    eventually(lambda: not inventory(release), seconds=90)
    assert exists(stage.cluster, "crd", RESOURCES)
