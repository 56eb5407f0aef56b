"""Weights that leave a card for the host's memory while nobody needs them, and come back without a file being read."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start.host import free_bytes
from stoker_worker.engine.start.memory import tensors

log = logging.getLogger(__name__)

Store = Callable[[Any], Any]
"""Makes, for a tensor of the card, an empty one like it in the host's memory."""
_ROUNDED_UP = 2
"""A pinned block takes up to so many times its size: torch's allocator makes powers of two of them."""


class Parking:
    """Moves the tensors that `found` tells between `device` and the host.

    Their places in the host's memory are kept: weights do not change while they are used, so that a later park copies nothing.
    Tensors that share memory on the device do not afterwards.
    """

    def __init__(self, torch: Any, found: Callable[[], Sequence[Any]], device: str, store: Store) -> None:
        self._torch = torch
        self._found = found
        self._device = device
        self._store = store
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._parked: list[tuple[Any, Any]] = []

    def park(self) -> None:
        """Move the tensors off the device. Raises torch's errors where the host has no room; all is as before then."""
        moving = [(tensor, self._copy_of(tensor)) for tensor in self._found()]
        self._settle()
        self._copies = {id(tensor): (tensor, copy) for tensor, copy in moving}
        for tensor, copy in moving:
            tensor.data = copy
        self._parked = moving
        if self._device == "cuda":
            self._torch.cuda.empty_cache()

    def unpark(self) -> None:
        """Bring the tensors back. Raises FatalEngineError where the device has no room for them any more."""
        try:
            for tensor, copy in self._parked:
                tensor.data = copy.to(self._device, copy=True, non_blocking=True)
            self._settle()
        except self._torch.OutOfMemoryError:
            words = "the card has no room left for the weights that were parked"
            raise FatalEngineError(ExitReason.OUT_OF_MEMORY, words) from None
        self._parked = []

    def _copy_of(self, tensor: Any) -> Any:
        """The tensor's values in the host's memory: those of an earlier park, or new ones."""
        _, kept = self._copies.get(id(tensor), (None, None))
        if kept is not None and kept.dtype == tensor.dtype:
            return kept
        copy = self._store(tensor)
        copy.copy_(tensor.detach(), non_blocking=True)
        return copy

    def _settle(self) -> None:
        """Copies run beside the program; whoever reads what they wrote must wait for them."""
        if self._device == "cuda":
            self._torch.cuda.synchronize()


def pinned(torch: Any) -> Store:
    """Places that a card reads and writes by itself, because they are never paged out."""

    def empty(tensor: Any) -> Any:
        return torch.empty_like(tensor, device="cpu", pin_memory=True)

    return empty


class ParkingPlace:
    """What an engine parks with: the weights of `pipe`, where there is a card to leave and room on the host."""

    def __init__(self, pipe: Any, torch: Any, device: str) -> None:
        self._size = sum(tensor.nbytes for tensor in tensors(pipe, torch))
        self._parking = Parking(torch, lambda: tensors(pipe, torch), device, pinned(torch)) if device == "cuda" else None
        self._used = self._refused = self._told = False

    def park(self) -> bool:
        """Whether the weights have left the card. May be asked again and again: what is in the way is told once."""
        if self._parking is None or self._refused or not (self._used or self._has_room()):
            return False
        try:
            self._parking.park()
        except RuntimeError:
            self._refused = True
            log.warning("the host gave no memory to park the weights in; they stay on the card")
            return False
        self._used = True
        return True

    def unpark(self) -> None:
        """Bring parked weights back. Raises FatalEngineError."""
        if self._parking is not None:
            self._parking.unpark()

    def _has_room(self) -> bool:
        room = free_bytes()
        enough: bool = room >= _ROUNDED_UP * self._size
        if not (enough or self._told):
            log.info("the weights are not parked: they may take %d bytes and the host has %d", _ROUNDED_UP * self._size, room)
        self._told = not enough
        return enough
