"""The generated reference pages leave no question open."""

from collections.abc import Callable

import pytest

from tools.reference import metrics, resources, settings


@pytest.mark.parametrize("page", [resources, settings, metrics])
def test_every_line_of_the_reference_has_words(page: Callable[[], str]) -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]

    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []
