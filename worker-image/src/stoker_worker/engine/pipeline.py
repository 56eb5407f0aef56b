"""A diffusers pipeline in memory: found, imported, read and moved to its device."""

import inspect
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.engine.families import Family
from stoker_worker.engine.loading import family_in, find_model
from stoker_worker.engine.protocol import FatalEngineError, Footprint, StageHook


@dataclass(frozen=True, slots=True)
class Model:
    """Which model, from where, on what."""

    pipeline: Pipeline
    model_id: str
    directory: Path
    device: str = "auto"
    switches: frozenset[str] = frozenset()
    memory_budget: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline that can be called. `accepted` are the names of the arguments that its call takes."""

    pipe: Any
    torch: Any
    device: str
    accepted: frozenset[str]
    footprint: Footprint


def load_pipeline(model: Model, stage: StageHook) -> Loaded:
    """Read the weights and move them to the device. Raises FatalEngineError.

    torch is imported here, so that the port opens before seconds of imports.
    """
    folder = find_model(model.directory, model.model_id)
    began = time.monotonic()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import diffusers  # noqa: PLC0415 - seconds of imports that must not delay the port
    import torch  # noqa: PLC0415 - as above
    import transformers  # noqa: PLC0415 - as above

    stage("import", time.monotonic() - began)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    began = time.monotonic()
    try:
        family = family_in(model.directory, model.model_id, model.pipeline)
        pipe = _read(getattr(diffusers, family.kinds[model.pipeline].name), model, family, folder, torch)
    except torch.OutOfMemoryError:
        words = "the card is too small for the weights of this model"
        raise FatalEngineError(ExitReason.OUT_OF_MEMORY, words) from None
    except Exception as error:
        words = f"{model.model_id} cannot be loaded: {type(error).__name__}: {without_paths(error, folder)}"
        raise FatalEngineError(ExitReason.LOAD_FAILED, words) from error
    stage("weights", time.monotonic() - began)
    accepted = frozenset(inspect.signature(pipe.__call__).parameters)
    return Loaded(pipe, torch, _device(model, torch), accepted, Footprint(budget=model.memory_budget))


def _read(kind: Any, model: Model, family: Family, folder: Path, torch: Any) -> Any:
    device = _device(model, torch)
    if device == "cuda":
        _bound_memory(model, torch)
    else:
        torch.set_num_threads(1)
    variant = "fp16" if device == "cuda" and any(folder.rglob("*.fp16.safetensors")) else None
    pipe = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=_dtype(model, family, torch, device), variant=variant
    )
    pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(device)
    if "compile" in model.switches:
        denoiser = getattr(pipe, "unet", None) or pipe.transformer
        denoiser.compile()
    return pipe


def _device(model: Model, torch: Any) -> str:
    if model.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return model.device


def _dtype(model: Model, family: Family, torch: Any, device: str) -> Any:
    """The format of the weights, or by component where some are to keep theirs."""
    if "bfloat16" in model.switches:
        return torch.bfloat16
    if device != "cuda":
        return torch.float32
    chosen = getattr(torch, family.dtype)
    return {"default": chosen} | dict.fromkeys(family.float32, torch.float32) if family.float32 else chosen


def _bound_memory(model: Model, torch: Any) -> None:
    """A seat belt: the allocator refuses what would go past the budget."""
    if model.memory_budget is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, model.memory_budget / total))


def without_paths(error: Exception, folder: Path) -> str:
    """The error's first line, without where the files lie."""
    text = str(error).strip().split("\n", 1)[0]
    return text.replace(str(folder), "the model directory")[:400]
