"""Pipelines and networks that say at once where they lie and which numbers they hold.

diffusers asks for both some twenty times in a call, and each time walks through all modules in search of hooks that would move
weights (0.42, ``hooks/group_offloading``). For SDXL that is several milliseconds of Python, in the middle of which the card has
nothing to do. This worker sets no such hooks, so the first weight knows.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary


def settle(torch: Any, pipe: Any) -> None:
    """Let `pipe` and its networks answer from one weight of each. No hooks may be set on them from now on."""
    from diffusers import ModelMixin  # noqa: PLC0415 - it is there once a pipeline is

    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    for network in networks:
        _settle_network(torch, network, tells_dtype=isinstance(network, ModelMixin))
    first = next((_SLOTS[network] for network in networks if network in _SLOTS), None)
    if first is not None and pipe.device == _weight(first).device:
        _answering(pipe, _execution_device=property(lambda _pipe: _weight(first).device))


_Slot = tuple[dict[str, Any], str]
"""Where a module keeps a weight: it is looked up anew each time, because moving a module may replace it."""
_SLOTS: "WeakKeyDictionary[Any, _Slot]" = WeakKeyDictionary()
"""Of each settled network, its first weight."""


def _settle_network(torch: Any, network: Any, *, tells_dtype: bool) -> None:
    slot = _slot(network, getattr(network, "dtype", None))
    if slot is None or not isinstance(_weight(slot), torch.nn.Parameter):
        return
    _SLOTS[network] = slot
    if tells_dtype:
        _answering(network, dtype=property(lambda _network: _weight(slot).dtype))


class _Ear:
    """Stands where diffusers looks for a network's hooks, for whatever reason: a settled one is heard instead.

    It is there while any engine of the process wants it, in whatever order they come and go.
    """

    def __init__(self) -> None:
        self._engines = 0
        self._changing = threading.Lock()
        self._walk: Any = None
        # Made here: a new object may begin a collection, which in the lock could ask for the lock.
        self._answer = self._device_of

    @contextmanager
    def lent(self) -> Iterator[None]:
        from diffusers.hooks import group_offloading  # noqa: PLC0415 - as above

        with self._changing:
            if not self._engines:
                self._walk = group_offloading._get_group_onload_device  # noqa: SLF001
                group_offloading._get_group_onload_device = self._answer  # noqa: SLF001
            self._engines += 1
        try:
            yield
        finally:
            with self._changing:
                self._engines -= 1
                if not self._engines:
                    group_offloading._get_group_onload_device = self._walk  # noqa: SLF001

    def _device_of(self, network: Any) -> Any:
        slot = _SLOTS.get(network)
        return self._walk(network) if slot is None else _weight(slot).device


_EAR = _Ear()


def heard() -> AbstractContextManager[None]:
    """Let diffusers hear from settled networks where they lie, wherever in the process it asks."""
    return _EAR.lent()


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
