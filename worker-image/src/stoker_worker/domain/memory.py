"""What weights need of a card's memory, told from the headers of their files before a byte of them is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

MIB, GIB = 2**20, 2**30
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of one number by its name in a header (safetensors, ``README.md``, "Format")."""
_FULL = 4
"""Bytes of a number in full precision."""


@dataclass(frozen=True, slots=True)
class Precision:
    """What numbers are loaded as: `number_bytes` each. Those below modules named in `kept` are loaded in full precision."""

    number_bytes: int
    kept: frozenset[str] = field(default_factory=frozenset)

    def keeps(self, tensor: str) -> bool:
        """Whether a tensor is loaded in full precision.

        diffusers (0.42, ``load_model_dict_into_meta``) does so where a whole part of its dotted name is in the list.
        """
        return not self.kept.isdisjoint(tensor.split("."))


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor as the header of its file tells it: its numbers' name there, and bytes `begin` to `end` of the file's data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def tensor_bytes(name: str, tensor: Entry, precision: Precision) -> int:
    """Bytes of a tensor once it is loaded. Only numbers with fractions change their size."""
    if tensor.dtype not in _FLOAT_BYTES:
        return tensor.end - tensor.begin
    return prod(tensor.shape) * (_FULL if precision.keeps(name) else precision.number_bytes)


def weights_bytes(headers: Iterable[Mapping[str, Entry]], precision: Precision) -> int:
    """Bytes of all tensors of a component's files."""
    return sum(tensor_bytes(name, tensor, precision) for header in headers for name, tensor in header.items())


def overdraft(needed: Mapping[str, int], room: int, whose: str = "the budget is") -> str | None:
    """Why weights of so many bytes by component do not fit into `room` bytes, in words; None where they do."""
    total = sum(needed.values())
    if total <= room:
        return None
    largest = sorted(needed, key=lambda name: -needed[name])
    parts = ", ".join(f"{name} {_size(needed[name])}" for name in largest if needed[name])
    return f"the weights need {_size(total)} and {whose} {_size(room)}: {parts}"


def _size(size: int) -> str:
    return f"{size / GIB:.3g} GiB" if size >= GIB // 10 else f"{size / MIB:.3g} MiB"
