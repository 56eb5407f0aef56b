"""What all tests of the chart share."""

import pytest

from tests.chart.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm.at_home(tmp_path_factory.mktemp("helm"))
