"""A diffusers pipeline in memory: found, imported, read and moved to its device."""

import inspect
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.domain.shapes import Shape
from stoker_worker.engine.families import Family
from stoker_worker.engine.protocol import FatalEngineError, Footprint, StageHook
from stoker_worker.engine.speed.switches import BFLOAT16
from stoker_worker.engine.start.folders import family_in, find_model
from stoker_worker.engine.start.host import free_bytes
from stoker_worker.engine.start.importing import Libraries, collection_paused, import_libraries
from stoker_worker.engine.start.memory import held_bytes, refuse_overdraft
from stoker_worker.engine.start.networks import read_networks
from stoker_worker.engine.start.prefetch import Prefetch
from stoker_worker.engine.start.weights import Component, Weights, find_weights

_CARD = Path("/dev/nvidiactl")
"""There where the NVIDIA driver is: tells of a card before torch is imported."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which model, from where, on what. `warm_shapes` are run before the first job."""

    pipeline: Pipeline
    model_id: str
    directory: Path
    device: str = "auto"
    switches: frozenset[str] = frozenset()
    memory_budget: int | None = None
    warm_shapes: tuple[Shape, ...] = ()


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

    Their files are read into the page cache while torch is imported, which happens here, so that the port opens before it.
    """
    folder = find_model(model.directory, model.model_id)
    on_card = model.device == "cuda" or (model.device == "auto" and _CARD.exists())
    prefetch = Prefetch(find_weights(folder, half=on_card).files, free_bytes() // 2)
    prefetch.start()
    try:
        family = family_in(model.directory, model.model_id, model.pipeline)
        libraries = import_libraries(family.kinds[model.pipeline].name, stage)
        if on_card:
            prefetch.stop()  # a card's readers are as many, and go on by themselves
        return _load(model, family, folder, libraries, stage)
    finally:
        prefetch.stop()
        stage("prefetch", prefetch.seconds)


def _load(model: Model, family: Family, folder: Path, libraries: Libraries, stage: StageHook) -> Loaded:
    torch = libraries.torch
    device = _device(model, torch)
    weights = find_weights(folder, half=device == "cuda")
    dtype = _dtype(model, family, torch, device)
    refuse_overdraft(weights, model.memory_budget, libraries, device, dtype)
    began = time.monotonic()
    try:
        with collection_paused():
            kind = getattr(libraries.diffusers, family.kinds[model.pipeline].name)
            pipe = _read(kind, model, folder, weights, dtype, device, libraries)
    except FatalEngineError:
        raise
    except torch.OutOfMemoryError:
        words = "the card is too small for the weights of this model"
        raise FatalEngineError(ExitReason.OUT_OF_MEMORY, words) from None
    except Exception as error:
        words = f"{model.model_id} cannot be loaded: {type(error).__name__}: {without_paths(error, folder)}"
        raise FatalEngineError(ExitReason.LOAD_FAILED, words) from error
    stage("weights", time.monotonic() - began)
    accepted = frozenset(inspect.signature(pipe.__call__).parameters)
    return Loaded(pipe, torch, device, accepted, Footprint(held_bytes(pipe, torch, device), model.memory_budget))


def _read(kind: Any, model: Model, folder: Path, weights: Weights, dtype: Any, device: str, libraries: Libraries) -> Any:
    """The pipeline on its device. A card gets the networks from parallel readers, a CPU uses the page cache as it lies."""
    torch = libraries.torch
    networks = {}
    if device == "cuda":
        _bound_memory(model, torch)
        networks = read_networks(libraries, folder, _taken(kind, libraries, weights), dtype, device)
    else:
        _bound_threads(torch)
    pipe = kind.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=dtype,
        variant=weights.variant,
        device_map=device,
        **networks,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _taken(kind: Any, libraries: Libraries, weights: Weights) -> list[Component]:
    """The components that a pipeline of this class takes; all of them for a class that chooses another one."""
    if not issubclass(kind, libraries.diffusers.DiffusionPipeline):
        return list(weights.components)
    names = inspect.signature(kind.__init__).parameters
    return [component for component in weights.components if component.name in names]


def _device(model: Model, torch: Any) -> str:
    if model.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if model.device == "cuda" and not torch.cuda.is_available():
        words = "DEVICE is cuda, and no card is to be seen; give the worker one, or let DEVICE be auto or cpu"
        raise FatalEngineError(ExitReason.LOAD_FAILED, words)
    return model.device


def _dtype(model: Model, family: Family, torch: Any, device: str) -> Any:
    """The format of the weights, or by component where the family forbids to round some."""
    chosen = getattr(torch, family.dtype) if device == "cuda" else torch.float32
    if BFLOAT16 in model.switches:
        chosen = torch.bfloat16
    return {"default": chosen} | dict.fromkeys(family.float32, torch.float32) if family.float32 else chosen


def _bound_threads(torch: Any) -> None:
    """As many as OMP_NUM_THREADS says, which torch follows by itself, else one.

    Of itself torch takes one for each core of the host, of which a container may use few; and threads that have to share cores wait
    for each other at every operation: two on two busy cores took 10 to 28 times as long as one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _bound_memory(model: Model, torch: Any) -> None:
    """A seat belt: the allocator refuses what would go past the budget."""
    if model.memory_budget is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, model.memory_budget / total))


def without_paths(error: Exception, folder: Path) -> str:
    """The error's first line, without where the files lie."""
    text = str(error).strip().split("\n", 1)[0]
    return text.replace(str(folder), "the model directory")[:400]
