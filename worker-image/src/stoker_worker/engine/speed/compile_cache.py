"""Compiled code on a volume, so that a restarted worker compiles in a fraction of the time.

torch's compiler keeps its pieces in a folder, and can also bundle what one process has made into one file. Both hold for one
version of torch and Triton and one kind of card (pytorch/tutorials, ``torch_compile_caching_tutorial``), so each combination has a
folder.
"""

import contextlib
import logging
import os
import re
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_BUNDLE = "bundle"
_UNFINISHED = "unfinished-"
_ABANDONED_SECONDS = 3600
"""Age at which nobody writes an unfinished bundle any more: its worker has ended in the middle of it."""


class NoStore:
    """Nothing outlives the process."""

    def save(self) -> None:
        """Keep nothing."""


class CompileCache:
    """The folder of this torch, this Triton and this card under `directory`. What fails here costs time and nothing else."""

    def __init__(self, torch: Any, directory: Path, card: str) -> None:
        self._torch = torch
        self._folder = directory / _name(torch, card)

    def open(self) -> None:
        """Let torch's compiler use the folder, and give it what earlier processes made."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self._folder / "pieces")
            _sweep(self._folder)
            if self._bundle.is_file():
                self._torch.compiler.load_cache_artifacts(self._bundle.read_bytes())
                log.info("compiled code of earlier workers is there")
        except Exception as error:  # noqa: BLE001 - a damaged bundle can fail in any way
            log.warning("the folder for compiled code cannot be used (%s); everything is compiled anew", type(error).__name__)

    def save(self) -> None:
        """Write the bundle, whole or not at all."""
        try:
            made = self._torch.compiler.save_cache_artifacts()
            if made is not None:
                _write(self._bundle, made[0])
        except Exception as error:  # noqa: BLE001 - torch pickles whatever its compiler made
            log.warning("compiled code cannot be kept (%s); the next worker compiles anew", type(error).__name__)

    @property
    def _bundle(self) -> Path:
        return self._folder / _BUNDLE


def _name(torch: Any, card: str) -> str:
    try:
        version = metadata.version("triton")
    except metadata.PackageNotFoundError:
        version = "none"
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", f"torch-{torch.__version__}-triton-{version}-{card}")


def _write(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove what workers that are gone have left; others may be writing at this moment."""
    for file in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # another worker was faster
            if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                file.unlink()
