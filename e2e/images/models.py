"""The project's own models as a folder of the cache: a worker's MODEL_DIR, and the content of an image.

The trained ones lie in the repository; the tiny ones with random weights are made in code.
"""

import shutil
import sys
from pathlib import Path

from e2e.cache import ROOT, content_key, made
from e2e.commands import run
from e2e.progress import step

TRAINED = ROOT / "worker-image/models"
RECIPES = (ROOT / "worker-image/src/stoker_worker/engine/tiny", TRAINED)


def model_folder() -> Path:
    """The folder with the models, made where it is not there yet. Raises CommandError."""
    return made("models", content_key(*RECIPES), _write)


def _write(folder: Path) -> None:
    with step("Making tiny models with random weights"):
        run(sys.executable, "-m", "stoker_worker.tiny", folder)
    shutil.copytree(TRAINED, folder, dirs_exist_ok=True)
    run("chmod", "--recursive", "a+rX", folder)  # whoever mounts them has another user than who made them
