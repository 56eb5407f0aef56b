"""Compiled code that outlives its worker."""

import os
from pathlib import Path

import pytest

from stoker_worker.engine.speed.compile_cache import CompileCache


class FakeCompiler:
    """torch's compiler as far as its cache goes."""

    def __init__(self, version: str = "2.15") -> None:
        self.__version__ = version
        self.compiler = self
        self.loaded: list[bytes] = []

    def save_cache_artifacts(self) -> tuple[bytes, object]:
        return b"code", object()

    def load_cache_artifacts(self, bundle: bytes) -> None:
        if bundle != b"code":
            message = "damaged"
            raise ValueError(message)
        self.loaded.append(bundle)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    return tmp_path / "volume"


def test_compiled_code_outlives_the_worker_for_the_same_torch_and_card(volume: Path) -> None:
    CompileCache(FakeCompiler(), volume, "H200").open()
    CompileCache(FakeCompiler(), volume, "H200").save()
    again, other_card, other_torch = FakeCompiler(), FakeCompiler(), FakeCompiler("2.16")
    CompileCache(other_card, volume, "L4 / 24 GB").open()
    CompileCache(other_torch, volume, "H200").open()
    CompileCache(again, volume, "H200").open()

    assert (again.loaded, other_card.loaded, other_torch.loaded) == ([b"code"], [], [])
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(volume)
    assert len(list(volume.iterdir())) == 3


def test_bundles_that_could_not_be_finished_are_not_left_on_the_volume(volume: Path) -> None:
    cache = CompileCache(FakeCompiler(), volume, "H200")
    cache.open()
    (folder,) = volume.iterdir()
    (folder / "bundle" / "in the way").mkdir(parents=True)
    cache.save()
    assert [file.name for file in folder.iterdir()] == ["bundle"]

    abandoned, in_progress = folder / "unfinished-1", folder / "unfinished-2"
    for file in (abandoned, in_progress):
        file.write_bytes(b"co")
    os.utime(abandoned, (0, 0))
    cache.open()

    assert {file.name for file in folder.iterdir()} == {"bundle", "unfinished-2"}


def test_a_damaged_or_absent_volume_costs_time_and_nothing_else(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = CompileCache(FakeCompiler(), volume, "H200")
    cache.save()
    cache.open()
    cache.save()
    next(volume.rglob("bundle")).write_bytes(b"half")
    cache.open()

    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "compiled code cannot be kept", "the folder for compiled code cannot be used",
    ]  # fmt: skip
    assert str(volume) not in caplog.text
