import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from e2e.cluster.engine import _RUNTIME

_ASKED = {
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]},
    "oomScoreAdj": -500,
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 20, "soft": 1 << 20}],
    "args": ["true"],
}
_GRANTED = {"capabilities": {"bounding": ["CAP_CHOWN"], "effective": []}, "oomScoreAdj": 0, "args": ["true"]}


@pytest.fixture
def runtime() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("capable_runc", str(_RUNTIME))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("bundle", [["--bundle", "{}"], ["--bundle={}"], ["-b", "{}"]])
def test_a_container_is_created_with_what_may_be_granted(runtime: ModuleType, tmp_path: Path, bundle: list[str]) -> None:
    config = _written(tmp_path / "config.json", {"process": _ASKED, "hostname": "node"})
    words = [word.format(tmp_path) for word in bundle]
    runtime._edit(["--root", "/run/runc", "--log-format", "json", "create", *words, "--pid-file", "pid", "name"])
    assert json.loads(config.read_text()) == {"process": _GRANTED, "hostname": "node"}


def test_the_bundle_is_the_current_folder_where_none_is_named(
    runtime: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _written(tmp_path / "config.json", {"process": _ASKED})
    monkeypatch.chdir(tmp_path)
    runtime._edit(["run", "name"])
    assert json.loads(config.read_text()) == {"process": _GRANTED}


def test_a_process_is_added_with_what_may_be_granted(runtime: ModuleType, tmp_path: Path) -> None:
    process = _written(tmp_path / "process.json", _ASKED)
    runtime._edit(["exec", "--process", str(process), "--detach", "name"])
    assert json.loads(process.read_text()) == _GRANTED


def test_a_raised_oom_score_stays(runtime: ModuleType, tmp_path: Path) -> None:
    process = _written(tmp_path / "process.json", {"oomScoreAdj": 300})
    runtime._edit(["exec", "--process", str(process), "name"])
    assert json.loads(process.read_text())["oomScoreAdj"] == 300


def test_other_commands_touch_nothing(runtime: ModuleType, tmp_path: Path) -> None:
    config = _written(tmp_path / "config.json", {"process": _ASKED})
    runtime._edit(["delete", "--force", str(tmp_path)])
    assert json.loads(config.read_text()) == {"process": _ASKED}
