"""What the binaries' builder says where Go cannot build them."""

from pathlib import Path

import pytest

from e2e.cluster import binaries


def go_that_says(words: str, folder: Path) -> None:
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho '{words}'\n")
    program.chmod(0o755)


def test_a_missing_go_is_named_together_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(binaries.GoError, match="go is not installed; install Go 1"):
        binaries._check_go(binaries._TOOLS)


def test_a_go_that_is_too_old_is_named_together_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_that_says("go version go1.19.8 linux/amd64", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(binaries.GoError, match=r"cannot be built with Go 1\.19\.8; install Go 1"):
        binaries._check_go(binaries._KUBERNETES)


def test_a_go_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_that_says("go version go1.99.0 linux/amd64", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    binaries._check_go(binaries._KUBERNETES)
