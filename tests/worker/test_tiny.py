"""The tiny models as files, and the command that writes them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_worker import tiny as command
from stoker_worker.engine import tiny

QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_what_can_be_written_is_told_without_torch() -> None:
    code = "import sys, stoker_worker.tiny; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ids_that_name_no_family_stay_and_others_name_theirs() -> None:
    assert tiny.model_id(Pipeline.TEXT_TO_IMAGE) == tiny.MODEL_IDS[Pipeline.TEXT_TO_IMAGE] == "stoker/tiny-text-to-image"
    assert tiny.model_id(Pipeline.TEXT_TO_IMAGE, "sd3") == "stoker/tiny-sd3-text-to-image"


@pytest.mark.torch
@QUIET
def test_the_command_writes_the_named_families_for_the_named_pipelines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--family", "flux", "--family", "wan", "--pipeline", "text-to-image"]
    monkeypatch.setattr(sys, "argv", ["tiny", str(tmp_path), *asked])
    command.main()

    assert capsys.readouterr().out == "stoker/tiny-flux-text-to-image written\n"
    (folder,) = tmp_path.iterdir()
    index = folder / "snapshots" / (folder / "refs" / "main").read_text() / "model_index.json"
    assert json.loads(index.read_text())["_class_name"] == "FluxPipeline"


@pytest.mark.torch
@QUIET
def test_a_model_has_the_same_weights_each_time_it_is_written(tmp_path: Path) -> None:
    first, second = (tiny.write(tmp_path / name, Pipeline.TEXT_TO_IMAGE, "flux") for name in ("a", "b"))
    weights = sorted(file.relative_to(first) for file in first.rglob("*.safetensors"))

    assert len(weights) == 4
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in weights)
