"""Calls of a model's parts, taken apart: which tensors of which form go in, and what else decides what is computed."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_PLAIN = (bool, int, float, str, type(None))
"""Arguments of which the value itself is part of a call's key."""

Forward = Callable[..., Any]
"""What computes a part's result, like a module's ``forward``."""

_WATCHED = 8
"""Weights of a module that are looked at, about."""
_TENSOR = object()
"""Stands among the leaves where a tensor was."""


@dataclass(frozen=True, slots=True)
class Blank:
    """A tensor's form without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: Any
    device: Any

    def filled(self, torch: Any) -> Any:
        """A tensor of this form: noise, as latents are, or zeros where it counts or says yes and no.

        A step of 0 repeats one number along a side, as ``expand`` does, and is made the same way.
        """
        shape = [1 if step == 0 else length for length, step in zip(self.shape, self.stride, strict=True)]
        made = torch.empty_strided(shape, [step or 1 for step in self.stride], dtype=self.dtype, device=self.device)
        filled = made.normal_() if self.dtype.is_floating_point else made.zero_()
        return filled.expand(self.shape)


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Calls with equal keys launch the same kernels on tensors of the same form, whatever the tensors hold."""

    key: Hashable
    tensors: list[Any]
    leaves: list[Any]
    spec: Any

    @property
    def size(self) -> str:
        """The first tensor's size, for people."""
        return "×".join(map(str, self.tensors[0].shape)) if self.tensors else "nothing"

    def lies_on(self, device: Any) -> bool:
        """Whether all of its tensors lie there. The host may look into one that lies with it, and decide by what it finds."""
        return all(tensor.device == device for tensor in self.tensors)

    def without_contents(self) -> "Call":
        """The call's form alone, which keeps no job's memory."""
        return replace(self, tensors=[])

    def blanks(self) -> list[Blank]:
        """The forms of its tensors."""
        return [Blank(tuple(each.shape), each.stride(), each.dtype, each.device) for each in self.tensors]

    def again(self, torch: Any, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same arguments with other tensors of the same form in their places."""
        given = iter(tensors)
        leaves = [next(given) if leaf is _TENSOR else leaf for leaf in self.leaves]
        positional, named = torch.utils._pytree.tree_unflatten(leaves, self.spec)  # noqa: SLF001 - torch's own modules use it
        return positional, named


def taken_apart(torch: Any, positional: Sequence[Any], named: Mapping[str, Any]) -> Call | None:
    """The call's tensors and key; None where an argument is neither a tensor nor a plain value."""
    leaves, spec = torch.utils._pytree.tree_flatten((tuple(positional), dict(named)))  # noqa: SLF001 - as above
    forms = [_form(torch, leaf) for leaf in leaves]
    if None in forms:
        return None
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    plain = [_TENSOR if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    return Call((tuple(forms), spec), tensors, plain, spec)


def _form(torch: Any, leaf: Any) -> Hashable | None:
    if isinstance(leaf, torch.Tensor):
        return ("tensor", tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.device, leaf.is_inference())
    if isinstance(leaf, (*_PLAIN, torch.dtype, torch.device)):
        return type(leaf), leaf
    return None


class Weights:
    """Where a module's parameters and buffers lie.

    Whatever moves a module moves all of it, so a few tell of all: to look at each of a UNet's 1,680 would take as long as launching
    fifty kernels. They are looked up by name each time, because moving a module may replace them. Who moves weights in a way that
    may bring some back to where they were, as parking does, must have recorded calls forgotten.
    """

    def __init__(self, module: Any) -> None:
        owners = list(module.modules())
        slots = [
            (held, name) for owner in owners for held in (owner._parameters, owner._buffers) for name, each in held.items()  # noqa: SLF001
            if each is not None
        ]  # fmt: skip
        self._slots = [*slots[:: max(1, len(slots) // _WATCHED)], slots[-1]]

    def addresses(self) -> tuple[int, ...]:
        """The addresses of some."""
        return tuple([slot[name].data_ptr() for slot, name in self._slots])

    def dtype(self) -> Any:
        """The number format of the first one."""
        return self._first().dtype

    def device(self) -> Any:
        """The device of the first one."""
        return self._first().device

    def _first(self) -> Any:
        slot, name = self._slots[0]
        return slot[name]
