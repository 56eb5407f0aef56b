"""The cache outside the clone: what took long to make is kept there, named after the content that it was made from."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The clone."""
_DIGITS = 12


def cache_dir() -> Path:
    """The cache: ``STOKER_CACHE``, or ``stoker`` in the user's cache folder."""
    chosen = os.environ.get("STOKER_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(chosen) if chosen else base / "stoker"
    place.mkdir(parents=True, exist_ok=True)
    return place


def content_key(*parts: str | Path) -> str:
    """A short name for the content of `parts`: words as they are, files by what they hold, folders by all their files."""
    digest = hashlib.sha256()
    for part in parts:
        for name, content in _contents(part):
            digest.update(f"{len(name)} {name} {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()[:_DIGITS]


def _contents(part: str | Path) -> Iterable[tuple[str, bytes]]:
    if isinstance(part, str):
        yield "", part.encode()
    elif part.is_dir():
        for file in sorted(part.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith(".egg-info"):
                yield str(file.relative_to(part)), file.read_bytes()
    else:
        yield part.name, part.read_bytes()


def made(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``<name>-<key>`` of the cache, made by `make` where it is not there yet.

    `make` gets an empty folder, which takes its name only when all went well. Two programs that want the same thing at the
    same time make it once.
    """
    place = cache_dir() / f"{name}-{key}"
    if place.is_dir():
        return place
    with locked(f"{name}-{key}"):
        if not place.is_dir():
            unfinished = place.with_name(f"{place.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(place)
    return place


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One program at a time; the lock goes with the process that holds it, however that ends."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
