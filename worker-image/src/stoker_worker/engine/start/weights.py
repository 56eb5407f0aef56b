"""The weights in a model's folder: which files will be read, and what they need. Only names and headers are looked at here."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_contracts.worker import ExitReason
from stoker_worker.domain.memory import Entry, Precision, weights_bytes
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start.folders import INDEX

HALF = "fp16"
"""The variant with numbers of half the size, as model hubs name it."""
_STEMS = ("diffusion_pytorch_model", "model")
"""What diffusers and transformers call a component's weights (0.42, 5.23)."""
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt"})
_LONGEST_HEADER = 100 * 10**6
"""Bytes; safetensors refuses longer headers."""


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a pipeline: its name, the class that it is, and the files with its weights (none: it has no weights)."""

    name: str
    library: str
    kind: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """What of a folder will be read. A variant, where one is named, is taken by each component that has it."""

    components: tuple[Component, ...]
    variant: str | None = None

    @property
    def files(self) -> list[Path]:
        """All files, the largest first."""
        found = {file for component in self.components for file in component.files}
        return sorted(found, key=lambda file: (-file.stat().st_size, file))


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file holds: its tensors by name, whose data begin at byte `data`."""

    tensors: Mapping[str, Entry]
    data: int


def find_weights(folder: Path, *, half: bool) -> Weights:
    """The files that will be read, of `half` precision where that is complete. Other variants and copies do not count.

    Raises FatalEngineError for a model that brings code of its own, and for components whose weights cannot be read safely.
    """
    index = _index(folder)
    _refuse_code(folder, index)
    parts = {name: value for name, value in index.items() if _is_component(value)}
    full = {name: _files(folder / name, None) for name in parts}
    halved = {name: _files(folder / name, HALF) for name in parts}
    marked = {name for name in parts if any(_has_variant(file) for file in _listed(folder / name))}
    usable = bool(marked) and all(halved[name] for name in marked)
    variant = HALF if usable and (half or not all(full[name] for name in marked)) else None
    chosen = {name: (halved[name] if variant else ()) or full[name] for name in parts}
    for name in parts:
        if not chosen[name]:
            _refuse_unreadable(folder / name)
    return Weights(tuple(Component(name, library, kind, chosen[name]) for name, (library, kind) in parts.items()), variant)


def needed_bytes(weights: Weights, precision: Callable[[Component], Precision]) -> dict[str, int]:
    """Bytes of each component once it is loaded with its precision. Raises FatalEngineError for damaged files."""
    return {
        component.name: weights_bytes((read_header(file).tensors for file in component.files), precision(component))
        for component in weights.components
    }


def read_header(file: Path) -> Header:
    """The header of a safetensors file. Raises FatalEngineError where it is none, or the file is shorter than its header says."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            said = json.loads(opened.read(min(length, _LONGEST_HEADER)))
        tensors = {name: _entry(tensor) for name, tensor in said.items() if name != "__metadata__"}
    except (struct.error, ValueError, TypeError, KeyError, AttributeError):
        raise no_safetensors(file) from None
    data = 8 + length
    if file.stat().st_size < data + max((tensor.end for tensor in tensors.values()), default=0):
        message = f"{file.parent.name}: {file.name} is cut off; fetch it again"
        raise FatalEngineError(ExitReason.WEIGHTS_MISSING, message)
    return Header(tensors, data)


def no_safetensors(file: Path) -> FatalEngineError:
    """What is raised for a file that does not hold what it should."""
    return FatalEngineError(ExitReason.LOAD_FAILED, f"{file.parent.name}: {file.name} is no safetensors file")


def _entry(said: Mapping[str, Any]) -> Entry:
    """Raises KeyError, TypeError and ValueError where a header says something else than it should."""
    dtype, shape, (begin, end) = said["dtype"], said["shape"], said["data_offsets"]
    numbers = (*shape, begin, end)
    if not isinstance(dtype, str) or not all(isinstance(number, int) and number >= 0 for number in numbers) or begin > end:
        raise ValueError
    return Entry(dtype, tuple(shape), begin, end)


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except ValueError:
        index = None
    if not isinstance(index, dict):
        message = f"the model's {INDEX} is no JSON object"
        raise FatalEngineError(ExitReason.LOAD_FAILED, message)
    return index


def _is_component(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(word, str) for word in value)  # noqa: PLR2004


def _refuse_code(folder: Path, index: Mapping[str, Any]) -> None:
    """A model may name Python files of its own for its pipeline and for components (diffusers, "custom pipelines")."""
    own = [name for name, value in index.items() if _is_component(value) and (folder / name / f"{value[0]}.py").is_file()]
    if isinstance(index.get("_class_name"), list):
        own.append("its pipeline")
    if own:
        message = f"the model brings code of its own for {', '.join(own)}, and code that comes with weights is not run"
        raise FatalEngineError(ExitReason.LOAD_FAILED, message)


def _files(folder: Path, variant: str | None) -> tuple[Path, ...]:
    """A component's files, all of them there; none where they are incomplete."""
    dotted = f".{variant}" if variant else ""
    for stem in _STEMS:
        shards = folder / f"{stem}.safetensors.index{dotted}.json"
        names = _shards(shards) if shards.is_file() else {f"{stem}{dotted}.safetensors"}
        files = tuple(folder / name for name in sorted(names))
        if files and all(file.is_file() for file in files):
            return files
    return ()


def _shards(index: Path) -> set[str]:
    """The files that an index names; their names only, so that none can lie elsewhere."""
    try:
        return {Path(name).name for name in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{index.parent.name}: {index.name} is no index of weights"
        raise FatalEngineError(ExitReason.LOAD_FAILED, message) from None


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _has_variant(file: Path) -> bool:
    """As diffusers tells which components have a variant (0.42, ``_identify_model_variants``)."""
    return "".join(file.name.split(".")[1:2]).startswith(HALF)


def _refuse_unreadable(folder: Path) -> None:
    """Weights that are there, but incomplete or in a format that can run code."""
    suffixes = {file.suffix for file in _listed(folder)}
    if ".safetensors" in suffixes or any(file.name.endswith(".index.json") for file in _listed(folder)):
        message = f"the weights of {folder.name} are incomplete: not all of their safetensors files are there"
        raise FatalEngineError(ExitReason.WEIGHTS_MISSING, message)
    if suffixes & _PICKLED:
        message = f"the weights of {folder.name} are pickled, which can run code; they are needed as safetensors"
        raise FatalEngineError(ExitReason.WEIGHTS_MISSING, message)
