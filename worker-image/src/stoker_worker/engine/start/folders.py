"""Where a model's files lie under ``MODEL_DIR``."""

import json
from pathlib import Path

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.engine.families import Family, family_of
from stoker_worker.engine.protocol import FatalEngineError

INDEX = "model_index.json"


def find_model(model_dir: Path, model_id: str) -> Path:
    """The folder with the model's ``model_index.json``.

    Tried in order: `model_dir` itself, ``<model id>/`` in it, and Hugging Face's cache layout
    (``models--org--name/snapshots/<revision named by refs/main>/``). Raises FatalEngineError in words that name no host path.
    """
    cached = model_dir / f"models--{model_id.replace('/', '--')}"
    candidates = [model_dir, model_dir / model_id, *_snapshots(cached)]
    inside = [folder for folder in candidates if folder.resolve().is_relative_to(model_dir.resolve())]
    for folder in inside:
        if (folder / INDEX).is_file():
            return folder
    what = "is empty or absent" if not model_dir.is_dir() or not any(model_dir.iterdir()) else f"has no {INDEX} for it"
    message = f"the weights of {model_id} are missing: the model directory {what}"
    raise FatalEngineError(ExitReason.WEIGHTS_MISSING, message)


def _snapshots(cached: Path) -> list[Path]:
    revision = cached / "refs" / "main"
    if revision.is_file():
        return [cached / "snapshots" / revision.read_text().strip()]
    return sorted((cached / "snapshots").glob("*"))


def family_in(model_dir: Path, model_id: str, pipeline: Pipeline) -> Family:
    """The model's family: by its index where that can be read, else by its id."""
    try:
        named = json.loads((find_model(model_dir, model_id) / INDEX).read_bytes())["_class_name"]
    except (FatalEngineError, OSError, ValueError, LookupError, TypeError):
        named = ""
    return family_of(model_id, pipeline, named if isinstance(named, str) else "")
