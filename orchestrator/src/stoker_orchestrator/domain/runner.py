"""What a worker says of itself, read with care: a container of somebody else says it as well, and everybody is shown it."""

import re
from collections import Counter
from dataclasses import dataclass

from pydantic import ValidationError

from stoker_contracts.capabilities import Hardware
from stoker_contracts.worker import GpuInfo, HardwareInfo, Version

_VERSION = re.compile(r"[0-9A-Za-z._+-]{1,64}")
_MOST_CARDS, _LONGEST_NAME, _MOST_BYTES = 64, 128, 2**50


@dataclass(frozen=True, slots=True)
class Runner:
    """The version of a worker's program, and the accelerators that it sees; empty where it does not say."""

    version: str = ""
    hardware: tuple[Hardware, ...] = ()

    @property
    def device(self) -> str:
        """What the worker computes on, for people: ``NVIDIA H100``, or ``2 × NVIDIA L4``; empty where that is not known."""
        counts = Counter(card.name for card in self.hardware)
        return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in counts.items())


def read_runner(version: bytes, hardware: bytes) -> Runner:
    """From the answers to `GET /version` and `GET /hardware/info`."""
    return Runner(_version(version), _cards(hardware))


def _version(body: bytes) -> str:
    try:
        version = Version.model_validate_json(body).version
    except ValidationError:
        return ""
    return version if _VERSION.fullmatch(version) else ""


def _cards(body: bytes) -> tuple[Hardware, ...]:
    try:
        cards = HardwareInfo.model_validate_json(body).gpu_info.values()
    except ValidationError:
        return ()
    sound = [card for card in cards if 0 <= card.memory_free <= card.memory_total <= _MOST_BYTES]
    return tuple(_card(card) for card in sound[:_MOST_CARDS])


def _card(card: GpuInfo) -> Hardware:
    name = "".join(filter(str.isprintable, card.name))[:_LONGEST_NAME]
    return Hardware(name=name, memory_total=card.memory_total, memory_free=card.memory_free)
