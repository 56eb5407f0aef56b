"""What weights need of a card's memory, told from the headers of their files before a byte of them is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

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


def tensor_bytes(name: str, tensor: Mapping[str, Any], precision: Precision) -> int:
    """Bytes of a tensor of a safetensors header once it is loaded. Only numbers with fractions change their size.

    diffusers (0.42, ``load_model_dict_into_meta``) keeps a tensor where a whole part of its dotted name is in the list.
    Raises KeyError, TypeError and ValueError where the header says something else than it should.
    """
    if tensor["dtype"] not in _FLOAT_BYTES:
        begin, end = tensor["data_offsets"]
        return int(end - begin)
    full = not precision.kept.isdisjoint(name.split("."))
    return int(prod(tensor["shape"])) * (_FULL if full else precision.number_bytes)


def weights_bytes(headers: Iterable[Mapping[str, Any]], precision: Precision) -> int:
    """Bytes of all tensors of a component's files."""
    return sum(
        tensor_bytes(name, tensor, precision) for header in headers for name, tensor in header.items() if name != "__metadata__"
    )


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
