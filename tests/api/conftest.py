"""The API server that all tests of this folder share, and what belongs to it."""

from collections.abc import Iterator

import pytest

from e2e.cluster.access import NAMESPACE
from e2e.cluster.apitier import ApiTier


@pytest.fixture(scope="session")
def api_tier(request: pytest.FixtureRequest) -> Iterator[ApiTier]:
    """With controllers, an audit log, Stoker's CRDs and the namespace ``stoker``; its logs are kept where a test fails."""
    with ApiTier(controllers=True, audit=True) as tier:
        tier.install_crds()
        tier.make_namespace(NAMESPACE)
        yield tier
        if request.session.testsfailed:
            tier.keep_logs()
