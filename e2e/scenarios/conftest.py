"""The releases that the scenarios share: one with scripted workers, one with real pipelines."""

from collections.abc import Iterator

import httpx2
import pytest

from e2e.release import RESOURCES, Release, exists, image_values, install, merged
from e2e.stage import Stage, prepared
from stoker_contracts import names

RESIDENCY_SECONDS = 5
"""How long a worker of the scripted release stays at least."""
SMALL = {"cpu": "10m", "memory": "256Mi"}
"""What a scripted worker is sure of; a node of two cores has room for all of them beside the real ones."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the cluster."""
    for item in items:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def stage() -> Stage:
    """The cluster, with the images loaded."""
    return prepared()


@pytest.fixture(scope="session")
def stub(stage: Stage) -> Release:
    """A release whose workers follow a script; its models come from the tests."""
    worker = {"engine": "stub", "gpu": {"count": 0}, "resources": SMALL, "allowedImagePrefixes": ["stoker.dev/"]}
    values = {"worker": worker, "orchestrator": {"lineLimit": 20, "bodyStallSeconds": 10, "residencySeconds": RESIDENCY_SECONDS}}
    return _without_models(install(stage.cluster, "stoker", 30935, merged(image_values(stage.images, "worker-stub"), values)))


@pytest.fixture(scope="session")
def real(stage: Stage, stub: Release) -> Release:
    """A release whose workers run the tiny pipelines with diffusers; it uses the CRDs that `stub` installed."""
    assert exists(stub.cluster, "crd", RESOURCES)
    weights = {"image": {"reference": stage.images["models"]}}
    resources = {"cpu": "100m", "memory": "2Gi"}
    values = {"crds": {"install": False}, "worker": {"gpu": {"count": 0}, "resources": resources, "weights": weights}}
    return _without_models(install(stage.cluster, "real", 30936, merged(image_values(stage.images, "worker"), values)))


def _without_models(release: Release) -> Release:
    """A cluster that was kept may have resources of the run before."""
    workers = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_MODEL_DEPLOYMENT}"
    release.kubectl("delete", RESOURCES, "--all")
    release.kubectl("wait", "pods", "--for=delete", "--selector", workers, "--timeout=120s")
    return release


@pytest.fixture
def http(stub: Release) -> Iterator[httpx2.Client]:
    """A caller of the release with scripted workers."""
    with httpx2.Client(base_url=stub.url, timeout=120) as client:
        yield client
