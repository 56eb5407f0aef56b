"""The API server that all tests of this folder share, and what belongs to it."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from e2e.cluster.access import NAMESPACE
from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet
from tests.chart.helm import Helm
from tests.support.followed import Cluster

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def api_tier(request: pytest.FixtureRequest) -> Iterator[ApiTier]:
    """With controllers, an audit log, Stoker's CRDs and the namespace ``stoker``; its logs are kept where a test fails."""
    with ApiTier(controllers=True, audit=True) as tier:
        tier.install_crds()
        tier.make_namespace(NAMESPACE)
        yield tier
        if request.session.testsfailed:
            tier.keep_logs()


@pytest.fixture
def namespace(api_tier: ApiTier) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{next(_NUMBERS)}"
    api_tier.make_namespace(name)
    yield name
    api_tier.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def kubelet(api_tier: ApiTier) -> Iterator[FakeKubelet]:
    """A node with plenty of room, on which pods become ready."""
    with FakeKubelet(api_tier) as kubelet:
        yield kubelet


@pytest.fixture(scope="session")
def orchestrator_rights(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The Role and RoleBinding that the chart gives the orchestrator."""
    rendered = Helm.at_home(tmp_path_factory.mktemp("helm")).objects()
    made = [each for each in rendered if each["kind"] in ("Role", "RoleBinding")]
    return [each for each in made if each["metadata"]["name"] == "stoker-orchestrator"]


@pytest.fixture
def cluster(api_tier: ApiTier, kubelet: FakeKubelet, namespace: str, orchestrator_rights: Iterable[dict[str, Any]]) -> Cluster:
    """A namespace of the test's own in which the orchestrator has its rights, and a node that runs pods."""
    here = [each | {"metadata": {"name": each["metadata"]["name"], "namespace": namespace}} for each in orchestrator_rights]
    api_tier.kubectl("apply", "--server-side", "-f", "-", text_in=yaml.safe_dump_all(here))
    return Cluster(api_tier, namespace)
