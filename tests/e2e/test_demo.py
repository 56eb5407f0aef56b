"""How demonstrations and scenarios end where they cannot succeed: with a sentence, and at once."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import stage
from e2e.cluster import binaries
from e2e.demo import cluster as demo
from e2e.demo import local
from e2e.demo.jobs import DemoError, wait_until_warm
from e2e.scenarios import __main__ as scenarios
from tests.support.ports import free_port


def needs_go(*_: str) -> stage.Stage:
    """A machine whose Docker is there and has the images, so that the first thing that lacks is a program of the cluster."""
    binaries.tools()
    pytest.fail("the programs were there")


@pytest.mark.parametrize(
    ("program", "main"), [(demo, demo.main), (scenarios, lambda: scenarios.main([]))], ids=["demo", "scenarios"]
)
def test_without_go_a_sentence_says_what_to_install(
    program: object, main: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setattr(program, "prepare", needs_go)

    assert main() == 1
    assert "go is not installed; install Go 1" in capsys.readouterr().err


def test_an_orchestrator_that_ended_is_told_as_that() -> None:
    with pytest.raises(DemoError, match=r"the orchestrator ended; orchestrator\.log"):
        wait_until_warm(f"http://127.0.0.1:{free_port()}", {"text-to-image"}, seconds=60, alive=lambda: False)


def test_a_demonstration_does_not_ask_somebody_elses_orchestrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "model_folder", lambda: tmp_path)
    monkeypatch.setattr(local, "_start", lambda *_: pytest.fail("an orchestrator was started"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["demo", "--output", str(tmp_path), "--port", str(port)])

        assert local.main() == 1
    assert f"port {port} is taken" in capsys.readouterr().err
