"""Tiny pipelines with random weights, made in code: real pipelines through the real path, without a hub.

Sizes follow what diffusers' own tests use. Weights are drawn from a fixed seed, so the files are the same everywhere. A picture
takes some hundredths of a second on one CPU core and shows coloured noise.
"""

import importlib
from pathlib import Path

from stoker_contracts.pipelines import Pipeline

_PICTURES = (Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_IMAGE)
_VIDEOS = (Pipeline.IMAGE_TO_VIDEO,)
FAMILIES: dict[str, tuple[Pipeline, ...]] = {
    "sd15": _PICTURES,
    "sdxl": _PICTURES,
    "sd3": _PICTURES,
    "flux": _PICTURES,
    "svd": _VIDEOS,
    "ltx": _VIDEOS,
    "wan": _VIDEOS,
}
"""What can be made, and for which pipelines. Each family has a module of its name beside this one."""
_PLAIN = {Pipeline.TEXT_TO_IMAGE: "sdxl", Pipeline.IMAGE_TO_IMAGE: "sdxl", Pipeline.IMAGE_TO_VIDEO: "svd"}
"""The family behind the id that names none."""
MODEL_IDS = {pipeline: f"stoker/tiny-{pipeline.value}" for pipeline in Pipeline}
"""The ids under which the tiny models are stored and called where no family is named."""
REVISION = "main"
_SEED = 0


def model_id(pipeline: Pipeline, family: str | None = None) -> str:
    """The id of the tiny model of `pipeline`, e.g. ``stoker/tiny-text-to-image`` or ``stoker/tiny-flux-text-to-image``."""
    return f"stoker/tiny-{family}-{pipeline.value}" if family else MODEL_IDS[pipeline]


def write(directory: Path, pipeline: Pipeline, family: str | None = None) -> Path:
    """Store the tiny model of `pipeline` under `directory` in Hugging Face's cache layout; returns the snapshot's folder."""
    import torch  # noqa: PLC0415 - what can be made is told without seconds of imports

    cached = directory / f"models--{model_id(pipeline, family).replace('/', '--')}"
    snapshot = cached / "snapshots" / REVISION
    (cached / "refs").mkdir(parents=True, exist_ok=True)
    (cached / "refs" / "main").write_text(REVISION)
    torch.manual_seed(_SEED)
    built = importlib.import_module(f"{__name__}.{family or _PLAIN[pipeline]}").build()
    built.save_pretrained(snapshot, safe_serialization=True)
    return snapshot
