"""What programs that make runs say of their own command line."""

import runpy
import sys

import pytest

from e2e.cache import ROOT

PROGRAMS = sorted(
    str(file.relative_to(ROOT))
    for folder in ("benchmarks", "e2e", "simulation")
    for file in (ROOT / folder).rglob("*.py")
    if "command_line(" in file.read_text() and file.stem != "command_line"
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_a_program_shows_a_call_that_takes_the_options(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "--help"])

    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / program), run_name="__main__")

    told = capsys.readouterr().out
    module = program.removesuffix(".py").replace("/", ".").removesuffix(".__main__")
    assert told.startswith(f"usage: python -m {module} ")
    assert "\nBy make: make " in told
    assert "``" not in told
