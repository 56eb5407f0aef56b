"""helm and its companions, and the chart as it is rendered."""

import os

import pytest

from e2e.cluster.binaries import tools
from tests.chart.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm with a home of its own: no repository, plugin or cluster of the user's is seen."""
    home = tmp_path_factory.mktemp("helm")
    homes = {f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}
    return Helm(tools(), homes | {"KUBECONFIG": os.devnull})
