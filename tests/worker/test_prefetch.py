"""Files that are read ahead of whoever loads them."""

import os
from pathlib import Path

import pytest

from stoker_worker.engine.start import prefetch
from stoker_worker.engine.start.prefetch import CHUNK, Prefetch

PLENTY = 10**12


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files, of two and a half chunks and of one byte, that the page cache has forgotten."""
    made = [tmp_path / "large", tmp_path / "small"]
    for file, size in zip(made, (CHUNK * 5 // 2, 1), strict=True):
        file.write_bytes(bytes(size))
        forget(file)
    return made


def forget(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(files: list[Path], room: int = PLENTY) -> int:
    """Bytes that are read ahead of a load that never comes."""
    ahead = Prefetch(files, room)
    ahead.start()
    ahead.wait()
    return ahead.read_bytes


def always_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing count as in memory: whether a file system forgets on demand is its own affair."""
    monkeypatch.setattr(prefetch, "_cached", lambda _descriptor, _offset: False)


def test_all_bytes_are_read(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)

    assert read(files) == CHUNK * 5 // 2 + 1


def test_no_more_is_read_than_there_is_room_for(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)

    assert read(files, room=2 * CHUNK) == 2 * CHUNK
    assert read(files, room=0) == 0


def test_what_is_in_memory_is_not_read_again(files: list[Path]) -> None:
    for file in files:
        file.read_bytes()

    assert read(files) == 0


def test_a_file_that_is_not_there_leaves_the_others_to_be_read(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)

    assert read([files[0].with_name("gone"), files[1]]) == 1


def test_a_file_that_shrinks_meanwhile_does_no_harm(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)
    ahead = Prefetch(files, PLENTY)
    files[0].write_bytes(b"")
    ahead.start()
    ahead.wait()

    assert ahead.read_bytes == 1


def test_nothing_is_read_once_it_is_stopped(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)
    ahead = Prefetch(files, PLENTY)
    ahead._stopped.set()
    ahead.start()
    ahead.stop()

    assert (ahead.read_bytes, ahead.seconds) == (0, 0)
