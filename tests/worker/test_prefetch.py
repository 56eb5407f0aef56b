"""Files that are read ahead of whoever loads them."""

import os
from pathlib import Path
from typing import Any

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


class Disk:
    """Counts the bytes that are read from files. What only looks whether they are in memory says so by its flags."""

    def __init__(self) -> None:
        self._preadv = os.preadv
        self._sizes: list[int] = []

    def preadv(self, descriptor: int, buffers: Any, offset: int, *flags: int) -> int:
        size = self._preadv(descriptor, buffers, offset, *flags)
        if not flags:
            self._sizes.append(size)
        return size

    @property
    def read(self) -> int:
        return sum(self._sizes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    watched = Disk()
    monkeypatch.setattr(os, "preadv", watched.preadv)
    return watched


def read_ahead(files: list[Path], room: int = PLENTY) -> None:
    """Of a load that never comes."""
    ahead = Prefetch(files, room)
    ahead.start()
    ahead.wait()


def always_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing count as in memory: whether a file system forgets on demand is its own affair."""
    monkeypatch.setattr(prefetch, "_cached", lambda _descriptor, _offset: False)


def test_all_bytes_are_read(files: list[Path], disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)
    read_ahead(files)

    assert disk.read == CHUNK * 5 // 2 + 1


@pytest.mark.parametrize("room", [2 * CHUNK, 0])
def test_no_more_is_read_than_there_is_room_for(files: list[Path], disk: Disk, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    always_absent(monkeypatch)
    read_ahead(files, room)

    assert disk.read == room


def test_what_is_in_memory_is_not_read_again(files: list[Path], disk: Disk) -> None:
    for file in files:
        file.read_bytes()
    read_ahead(files)

    assert disk.read == 0


def test_a_file_that_is_not_there_leaves_the_others_to_be_read(
    files: list[Path], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_absent(monkeypatch)
    read_ahead([files[0].with_name("gone"), files[1]])

    assert disk.read == 1


def test_a_file_that_shrinks_meanwhile_does_no_harm(files: list[Path], disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)
    ahead = Prefetch(files, PLENTY)
    files[0].write_bytes(b"")
    ahead.start()
    ahead.wait()

    assert disk.read == 1


def test_nothing_is_read_once_it_is_stopped(files: list[Path], disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    always_absent(monkeypatch)
    ahead = Prefetch(files, PLENTY)
    ahead._stopped.set()
    ahead.start()
    ahead.stop()

    assert (disk.read, ahead.seconds) == (0, 0)
