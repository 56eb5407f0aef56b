"""Memory of the card as torch's allocator counts it, for whoever measures an engine."""

import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes on all cards: held by tensors, and taken from the driver for them; now, and at most since the last reset."""

    allocated: int
    reserved: int
    peak_allocated: int
    peak_reserved: int


def device_memory() -> DeviceMemory | None:
    """What is in use; None where no engine of this process uses a card."""
    cuda = _cuda()
    if cuda is None:
        return None
    counts = (cuda.memory_allocated, cuda.memory_reserved, cuda.max_memory_allocated, cuda.max_memory_reserved)
    return DeviceMemory(*(sum(count(card) for card in range(cuda.device_count())) for count in counts))


def reset_peaks() -> None:
    """Forget the most that was in use so far."""
    cuda = _cuda()
    if cuda is not None:
        for card in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(card)


def _cuda() -> Any:
    """Torch's CUDA, if an engine has imported torch and uses a card: asking must neither import it nor make a context."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
