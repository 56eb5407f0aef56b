"""Pipelines and networks that say at once where they lie and which numbers they hold.

diffusers asks for both some twenty times in a call, and each time walks through all modules in search of hooks that would move
weights (0.42, ``hooks/group_offloading``). For SDXL that is several milliseconds of Python, in the middle of which the card has
nothing to do. This worker sets no such hooks, so the first weight knows.
"""

from typing import Any


def settle(torch: Any, pipe: Any) -> None:
    """Let `pipe` and its networks answer from one weight of each. No hooks may be set on them from now on."""
    from diffusers import ModelMixin  # noqa: PLC0415 - it is there once a pipeline is

    networks = [part for part in pipe.components.values() if isinstance(part, ModelMixin)]
    for network in networks:
        _settle_network(torch, network)
    first = next((slot for network in networks if (slot := _slot(network, network.dtype)) is not None), None)
    if first is not None and pipe.device == _weight(first).device:
        _answering(pipe, _execution_device=property(lambda _pipe: _weight(first).device))


def _settle_network(torch: Any, network: Any) -> None:
    slot = _slot(network, network.dtype)
    if slot is not None and isinstance(_weight(slot), torch.nn.Parameter):
        device = property(lambda _network: _weight(slot).device)
        _answering(network, device=device, dtype=property(lambda _network: _weight(slot).dtype))


_Slot = tuple[dict[str, Any], str]
"""Where a module keeps a weight: it is looked up anew each time, because moving a module may replace it."""


def _slot(network: Any, dtype: Any) -> _Slot | None:
    """The first weight of the numbers that the network says it holds; some may keep others."""
    slots = ((owner._parameters, name) for owner in network.modules() for name in owner._parameters)  # noqa: SLF001
    return next((slot for slot in slots if slot[0][slot[1]] is not None and _weight(slot).dtype == dtype), None)


def _weight(slot: _Slot) -> Any:
    held, name = slot
    return held[name]


def _answering(thing: Any, **answers: property) -> None:
    """Give `thing` a class of its own, called like its own class, with these answers."""
    kind: Any = type(thing)
    metaclass: Any = type(kind)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    thing.__class__ = metaclass(kind.__name__, (kind,), named | answers)
