"""The generated reference pages leave no question open."""

from collections.abc import Callable

import click
import pytest

from tools.reference import PROGRAMS, commands, metrics, model_families, resources, settings


@pytest.mark.parametrize("page", [resources, settings, metrics, model_families])
def test_every_line_of_the_reference_has_words(page: Callable[[], str]) -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")]

    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_command_and_every_option_is_in_the_reference_with_words() -> None:
    page = commands()

    assert {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")} == {
        *PROGRAMS,
        *(f"{program} {name}" for program, group in PROGRAMS.items() for name in group.commands),
    }
    for command in (command for group in PROGRAMS.values() for command in group.commands.values()):
        for parameter in command.params:
            assert max(parameter.opts, key=len).upper() in page.upper()
            assert parameter.help if isinstance(parameter, click.Option) else True
