"""Memory of a model: what it will need, what it holds, and the most it has held."""

from collections.abc import Mapping
from typing import Any

from stoker_contracts.worker import ExitReason
from stoker_worker.domain.memory import Precision, overdraft
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start.importing import Libraries
from stoker_worker.engine.start.weights import Component, Weights, needed_bytes


def refuse_overdraft(weights: Weights, budget: int | None, libraries: Libraries, device: str, dtype: Any) -> None:
    """Raises FatalEngineError where the weights need more than the budget, or without one than the card has free."""
    whose = "the budget is"
    if budget is None and device == "cuda":
        budget, whose = libraries.torch.cuda.mem_get_info()[0], "the card has free"
    if budget is None:
        return
    needed = needed_bytes(weights, lambda component: precision(component, libraries, dtype))
    words = overdraft(needed, budget, whose)
    if words is not None:
        raise FatalEngineError(ExitReason.OUT_OF_MEMORY, words)


def precision(component: Component, libraries: Libraries, dtype: Any) -> Precision:
    """What a component's numbers are loaded as. `dtype` is torch's, or a mapping by component with a ``default``.

    diffusers always keeps the modules that a class lists in full precision; transformers keeps one list of them beside
    float16 alone and one beside each format of half the size (diffusers 0.42 and transformers 5.23, ``from_pretrained``).
    """
    torch = libraries.torch
    wanted = dtype_of(component, torch, dtype)
    kind = libraries.kind(component.library, component.kind)
    lists = []
    if component.library == "diffusers" or wanted == torch.float16:
        lists.append(getattr(kind, "_keep_in_fp32_modules", None))
    if wanted in (torch.float16, torch.bfloat16):
        lists.append(getattr(kind, "_keep_in_fp32_modules_strict", None))
    return Precision(wanted.itemsize, frozenset(name for names in lists for name in names or ()))


def dtype_of(component: Component, torch: Any, dtype: Any) -> Any:
    """The torch dtype of a component. `dtype` as in `precision`."""
    return dtype.get(component.name, dtype.get("default", torch.float32)) if isinstance(dtype, Mapping) else dtype


def held_bytes(pipe: Any, torch: Any, device: str) -> int:
    """Bytes that a loaded pipeline's parameters and buffers hold; on a card what is allocated there."""
    if device == "cuda":
        return int(torch.cuda.memory_allocated())
    return sum(tensor.nbytes for tensor in tensors(pipe, torch))


def tensors(pipe: Any, torch: Any) -> list[Any]:
    """The parameters and buffers of a pipeline, each once."""
    modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    found = {id(tensor): tensor for module in modules for tensor in (*module.parameters(), *module.buffers())}
    return list(found.values())


def forget_peak(torch: Any, device: str) -> None:
    """Begin to look for the most memory anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(torch: Any, device: str) -> int:
    """The most bytes that were allocated at a time since ``forget_peak``; 0 where that is not known."""
    return int(torch.cuda.max_memory_allocated()) if device == "cuda" else 0
