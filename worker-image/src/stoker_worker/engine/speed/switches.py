"""Ways to run a model faster: what each may do to a picture, and where it cannot be had.

Exact ways are on wherever there is a card, and can be turned off. All others are asked for by name, and each answer names those
that are in force.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError


class Effect(StrEnum):
    """What a switch may do to a picture."""

    EXACT = "exact"
    """Not a bit changes."""
    LOSSLESS = "lossless"
    """The same sums in another order: the last bits of a number may differ, which nobody sees."""
    LOSSY = "lossy"
    """Something is left out or rounded: the picture is another one of about the same quality."""


NO_GRAPHS = "no-graphs"
CUDNN_ATTENTION = "cudnn-attention"
CHANNELS_LAST = "channels-last"
FUSED_NORMS = "fused-norms"
COMPILE = "compile"
BFLOAT16 = "bfloat16"
FIRST_BLOCK_CACHE = "first-block-cache"

SWITCHES = {
    NO_GRAPHS: Effect.EXACT,
    CUDNN_ATTENTION: Effect.LOSSLESS,
    CHANNELS_LAST: Effect.LOSSLESS,
    FUSED_NORMS: Effect.LOSSLESS,
    COMPILE: Effect.LOSSLESS,
    BFLOAT16: Effect.LOSSY,
    FIRST_BLOCK_CACHE: Effect.LOSSY,
}
"""Every word of OPTIMIZATION, and what it may do (``docs/concepts/worker-speed.md`` tells what each is)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is about to run. `capability` is the card's compute capability; None on a CPU."""

    capability: tuple[int, int] | None = None
    has_triton: bool = False
    """Whether Triton is installed, which compiles kernels of ours; it comes with torch's build for cards."""
    has_denoiser: bool = True
    """Whether the pipeline has a denoiser under one of the names that are looked for."""
    caches_steps: bool = False
    """Whether the denoiser has ``enable_cache``: in diffusers 0.42 most transformers have it, UNets and SD3 do not."""


def parse_switches(text: str) -> frozenset[str]:
    """The switches of a comma list such as ``compile, bfloat16``. Raises ValueError in words."""
    names = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(names - SWITCHES.keys())
    if unknown:
        message = f"{', '.join(repr(name[:40]) for name in unknown)}: no such switch; known: {', '.join(sorted(SWITCHES))}"
        raise ValueError(message)
    return names


def not_exact(names: Iterable[str]) -> tuple[str, ...]:
    """The switches among `names` that may change a picture, in order."""
    return tuple(sorted(name for name in names if SWITCHES[name] is not Effect.EXACT))


def check(names: frozenset[str], place: Place) -> None:
    """Raises FatalEngineError in words when a switch cannot be had in `place`."""
    refusals = [words for name in sorted(names) if (words := _refusal(name, names, place)) is not None]
    if refusals:
        raise FatalEngineError(ExitReason.SETTINGS_INVALID, f"OPTIMIZATION: {'; '.join(refusals)}")


_HOPPER = (9, 0)
"""From here on cuDNN's attention beats FlashAttention 2: 408 to 321 TFLOPS at head size 64 (the FlashAttention-3 paper)."""


def _refusal(name: str, names: frozenset[str], place: Place) -> str | None:
    return _lacking(name, place) or _clash(name, names)


def _lacking(name: str, place: Place) -> str | None:
    """What a switch needs and `place` has not."""
    if name == CUDNN_ATTENTION and (place.capability is None or place.capability < _HOPPER):
        found = "there is no card" if place.capability is None else "this card has {}.{}".format(*place.capability)
        return f"{name} needs a card of compute capability 9.0 or newer, and {found}; leave it out"
    if name == FUSED_NORMS and (place.capability is None or not place.has_triton):
        missing = "a card, and there is none" if place.capability is None else "Triton, which is not installed"
        return f"{name} needs {missing}; leave it out"
    if name == COMPILE and not place.has_denoiser:
        return f"{name} needs a denoiser that is known here, and this model has none; leave it out"
    if name == FIRST_BLOCK_CACHE and not place.caches_steps:
        return f"{name} needs a denoiser that can cache steps, and this model's cannot; leave it out"
    return None


def _clash(name: str, names: frozenset[str]) -> str | None:
    """Which other switch does not go with this one."""
    if name == FUSED_NORMS and COMPILE in names:
        return f"{name} and {COMPILE} both change how the denoiser's blocks are called: choose one of {name} and {COMPILE}"
    if name == FIRST_BLOCK_CACHE and COMPILE in names:
        return f"{name} decides anew at each step and cannot be compiled: choose one of {name} and {COMPILE}"
    return None
