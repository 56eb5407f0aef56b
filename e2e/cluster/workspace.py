"""A temporary folder for the data of a test cluster; what a killed run left behind is removed by the next one."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cache import locked


@contextmanager
def workspace(prefix: str) -> Iterator[Path]:
    """A new folder whose name begins with `prefix`, removed after the block.

    Its owner holds a lock in it. The kernel drops the lock however the owner ends, so a folder without a held lock is a leftover.
    """
    with locked(f"{prefix}workspaces"):
        _remove_leftovers(prefix)
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _remove_leftovers(prefix: str) -> None:
    for lock_file in Path(tempfile.gettempdir()).glob(f"{prefix}*/lock"):
        with lock_file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock_file.parent, ignore_errors=True)
