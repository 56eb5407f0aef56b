import json
from pathlib import Path

import pytest

from e2e.cluster import host


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's settings below a folder of the test, and a cache of its own."""
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "sys"
    for name, value in {"kernel/panic": "0\n", "vm/overcommit_memory": "0\n"}.items():
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(value)
    monkeypatch.setattr(host, "_SETTINGS", place)
    monkeypatch.setattr(host, "_MODULES", tmp_path / "modules")
    return place


def _change(settings: Path) -> None:
    (settings / "kernel" / "panic").write_text("10\n")
    (settings / "vm" / "overcommit_memory").write_text("1\n")


def _are_as_before(settings: Path) -> bool:
    return (settings / "kernel" / "panic").read_text() == "0\n" and (settings / "vm" / "overcommit_memory").read_text() == "0\n"


def test_settings_are_put_back_when_the_last_cluster_goes(settings: Path) -> None:
    host.enter("one")
    _change(settings)
    host.enter("two")
    host.leave("one")
    assert not _are_as_before(settings)
    host.leave("two")
    assert _are_as_before(settings)


def test_a_run_that_crashed_is_cleaned_by_the_next_one(settings: Path) -> None:
    host.enter("one")
    _change(settings)
    host.enter("one")  # the crashed run never left
    host.leave("one")
    assert _are_as_before(settings)


def test_leaving_a_cluster_that_is_not_there_changes_nothing(settings: Path) -> None:
    _change(settings)
    host.leave("one")
    assert not _are_as_before(settings)


def test_the_folder_that_docker_makes_for_kernel_modules_goes_only_where_it_was_not(settings: Path, tmp_path: Path) -> None:
    host.enter("one")
    (tmp_path / "modules").mkdir()
    host.leave("one")
    assert not (tmp_path / "modules").exists()

    (tmp_path / "modules").mkdir()
    host.enter("one")
    host.leave("one")
    assert (tmp_path / "modules").exists()


def test_a_clusters_folder_is_there_until_it_leaves(settings: Path) -> None:
    folder = host.enter("one")
    (folder / "kubeconfig").write_text(json.dumps({}))
    assert folder.parent == host.clusters_folder()
    host.leave("one")
    assert not folder.exists()
