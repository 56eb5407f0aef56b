"""Tensors as they lie in safetensors files, and the chunks in which they are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from stoker_worker.engine.start.weights import no_safetensors, read_header

_FORMATS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""torch's names for what headers call numbers (safetensors, ``README.md``, "Format"). Smaller ones belong to quantized weights."""

Wanted = Callable[[str, Any], Any]
"""Tells which torch dtype a tensor gets in memory, from its name and its dtype in the file."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file: bytes `begin` to `end` of the data, which begin at byte `data`.

    `source` is its torch dtype there, `dtype` the one that it gets in memory.
    """

    file: Path
    data: int
    begin: int
    end: int
    shape: tuple[int, ...]
    source: Any
    dtype: Any

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in memory."""
        return prod(self.shape) * int(self.dtype.itemsize)


@dataclass(frozen=True, slots=True)
class Piece:
    """What of a chunk belongs to one tensor: bytes `begin` to `end` of the file's data."""

    key: str
    stored: Stored
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a file that are read at once, for the component of this `name`."""

    name: str
    pieces: list[Piece] = field(default_factory=list)

    @property
    def begin(self) -> int:
        """Where in the file's data it begins."""
        return min(piece.begin for piece in self.pieces)

    @property
    def size(self) -> int:
        """Bytes from the first piece to the last."""
        return max(piece.end for piece in self.pieces) - self.begin


def stored_tensors(files: Sequence[Path], torch: Any, wanted: Wanted) -> dict[str, Stored] | None:
    """The tensors of a component's files by name; None where one has a format or a place that is not read here.

    Raises FatalEngineError for damaged files.
    """
    found: dict[str, Stored] = {}
    for file in files:
        header = read_header(file)
        for name, entry in header.tensors.items():
            source = getattr(torch, _FORMATS.get(entry.dtype, ""), None)
            if source is None or entry.begin % source.itemsize:
                return None
            if entry.end - entry.begin != prod(entry.shape) * source.itemsize:
                raise no_safetensors(file)
            found[name] = Stored(file, header.data, entry.begin, entry.end, entry.shape, source, wanted(name, source))
    return found


def cut(name: str, part: Mapping[str, Stored], size: int) -> list[Chunk]:
    """A component's tensors in chunks of at most `size` bytes, a multiple of every number's size, so that no number is cut."""
    made: dict[tuple[Path, int], Chunk] = {}
    for key, stored in sorted(part.items(), key=lambda item: (item[1].file, item[1].begin)):
        for window in range(stored.begin // size, -(-stored.end // size)):
            piece = Piece(key, stored, max(stored.begin, window * size), min(stored.end, (window + 1) * size))
            if piece.begin < piece.end:
                made.setdefault((stored.file, window), Chunk(name)).pieces.append(piece)
    return list(made.values())
