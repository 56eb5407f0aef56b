"""How a worker's container ended: its own words, or what its exit code tells."""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker_contracts.resources.conditions import Reason
from stoker_contracts.worker import ExitReason

_SIGNAL_BASE = 128
_MAX_WORDS = 500
_REASONS = {
    ExitReason.WEIGHTS_MISSING: Reason.WEIGHTS_MISSING,
    ExitReason.LOAD_FAILED: Reason.LOAD_FAILED,
    ExitReason.SETTINGS_INVALID: Reason.LOAD_FAILED,
    ExitReason.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    ExitReason.ENGINE_FAILED: Reason.CRASH_LOOP,
}


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why a container ended. `at_load` tells that a next start will most likely end the same way."""

    reason: Reason
    words: str
    at_load: bool = False


def farewell(terminated: Mapping[str, Any]) -> Farewell:
    """Read a terminated state of a container status."""
    spoken = _spoken(terminated.get("message") or "")
    if spoken is not None:
        reason, words = spoken
        return Farewell(_REASONS[reason], words, at_load=reason is not ExitReason.ENGINE_FAILED)
    if terminated.get("reason") == "OOMKilled":
        return Farewell(Reason.OUT_OF_MEMORY, "the worker was killed because it used more memory than resources.memory allows")
    return Farewell(Reason.CRASH_LOOP, _exit(terminated))


def _spoken(message: str) -> tuple[ExitReason, str] | None:
    """The worker's own reason; in a log's tail (no termination message was written) the last one counts."""
    found = re.findall(rf"\b({'|'.join(ExitReason)}): (.+)", message)
    if not found:
        return None
    reason, words = found[-1]
    return ExitReason(reason), bounded(words)


def _exit(terminated: Mapping[str, Any]) -> str:
    code = int(terminated.get("exitCode", 0))
    number = int(terminated.get("signal") or 0) or max(0, code - _SIGNAL_BASE)
    told = f"last exit code {code}"
    if number:
        told += f" (signal {number}{_signal_name(number)})"
    last_line = (terminated.get("message") or "").strip().rpartition("\n")[2]
    return f"{told}; its last words: {bounded(last_line)}" if last_line else told


def _signal_name(number: int) -> str:
    try:
        return f", {signal.Signals(number).name}"
    except ValueError:
        return ""


def bounded(words: str) -> str:
    """One line of at most 500 characters."""
    line = " ".join(words.split())
    return line if len(line) <= _MAX_WORDS else f"{line[: _MAX_WORDS - 1]}…"
