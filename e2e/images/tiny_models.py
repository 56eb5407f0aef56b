"""The tiny random-weight models as a folder of the cache: a worker's MODEL_DIR, and the content of an image."""

import sys
from pathlib import Path

from e2e.cache import ROOT, content_key, made
from e2e.commands import run
from e2e.progress import step

RECIPE = ROOT / "worker-image/src/stoker_worker/engine/tiny"


def tiny_models() -> Path:
    """The folder with one model of each pipeline, made where it is not there yet. Raises CommandError."""
    return made("tiny-models", content_key(RECIPE), _write)


def _write(folder: Path) -> None:
    with step("Making three tiny models with random weights"):
        run(sys.executable, "-m", "stoker_worker.tiny", folder)
    run("chmod", "--recursive", "a+rX", folder)  # whoever mounts them has another user than who made them
