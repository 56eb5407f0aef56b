"""Bodies beyond memory: their files are used again, their bytes are not."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stoker_orchestrator.app.body import MEMORY_BYTES, Body, Budget, DiskFullError

LIMIT = 2**30
_MIB = 2**20


def filled(budget: Budget, *parts: bytes) -> Body:
    body = Body(LIMIT, budget)
    for part in parts:
        body.feed(part)
    body.end()
    return body


async def read(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def on_disk() -> int:
    """Bytes of open files that have no name."""
    files = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink() and str(file.readlink()).endswith(" (deleted)")]
    return sum(file.stat().st_size for file in files)


async def test_a_body_holds_nothing_of_the_one_that_had_its_file_before() -> None:
    budget = Budget(LIMIT)
    filled(budget, b"a" * MEMORY_BYTES, b"a" * _MIB).close()
    later = b"b" * MEMORY_BYTES + b"c" * 1000

    assert await read(filled(budget, later[:MEMORY_BYTES], later[MEMORY_BYTES:])) == later


async def test_files_are_kept_for_the_next_bodies_and_no_more_than_are_of_use() -> None:
    budget, before = Budget(LIMIT), open_files()
    for body in [filled(budget, b"x" * MEMORY_BYTES, b"x") for _ in range(100)]:
        body.close()
    kept = open_files() - before
    for body in [filled(budget, b"x" * MEMORY_BYTES, b"x") for _ in range(kept)]:
        body.close()

    assert open_files() - before == kept == 64
    assert budget.used == 0


async def test_files_that_are_kept_have_little_in_them() -> None:
    budget, before = Budget(LIMIT), on_disk()
    for body in [filled(budget, *[b"x" * _MIB] * 4) for _ in range(4)]:
        body.close()
    small = on_disk() - before
    full = filled(budget, *[b"x" * _MIB] * 4)

    assert small <= 4 * MEMORY_BYTES
    assert on_disk() - before <= budget.used + small
    assert await read(full) == b"x" * 4 * _MIB


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file gets longer than `size` bytes: a write across that is short, one behind it fails, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 1000])
async def test_a_disk_that_takes_no_more_ends_the_body_and_nothing_stays_reserved(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    budget = Budget(LIMIT)
    with room(size):
        body = filled(budget, b"a" * MEMORY_BYTES, b"b" * 5000)
    with pytest.raises(DiskFullError):
        await read(body)
    body.close()

    assert budget.used == 0
    assert "could not be written" in caplog.text
    assert len(await read(filled(budget, b"a" * MEMORY_BYTES, b"b" * 5000))) == MEMORY_BYTES + 5000
