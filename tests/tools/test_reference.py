"""The generated reference pages leave no question open."""

import re
from collections.abc import Callable

import click
import pytest

from stoker_orchestrator.app.metrics import Metrics as OrchestratorMetrics
from stoker_worker.app.metrics import Metrics as WorkerMetrics
from stoker_worker.engine.stub import StubScript
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


def test_counters_have_the_names_that_prometheus_sees() -> None:
    told = re.findall(r"^\| `(\w+)` \| counter \|", metrics(), re.MULTILINE)
    shown = (OrchestratorMetrics().text() + WorkerMetrics().text()).decode()

    assert sorted(told) == sorted(re.findall(r"^# TYPE (\w+) counter$", shown, re.MULTILINE))


def test_defaults_that_are_false_or_nothing_are_told_as_well() -> None:
    page = resources()

    assert "| `warm` | boolean | `false` |" in page
    assert "| `rollout.maxSurge` | integer from 0 to 1 | `0` |" in page
    assert "`True`" not in page.partition("## status")[0]


def test_the_stubs_script_is_told_as_it_is_given() -> None:
    (default,) = re.findall(r"^\| `STUB_SCRIPT` \| `(.+)` \|", settings(), re.MULTILINE)

    assert StubScript.model_validate_json(default) == StubScript()
