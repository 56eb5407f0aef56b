"""The API server that all tests of this folder share, and what belongs to it."""

import itertools
from collections.abc import Iterator

import pytest

from e2e.cluster.access import NAMESPACE
from e2e.cluster.apitier import ApiTier
from e2e.cluster.fake_kubelet import FakeKubelet

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
