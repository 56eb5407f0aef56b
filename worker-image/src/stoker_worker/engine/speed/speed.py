"""A loaded pipeline made fast, by the switches that are in force."""

import contextlib
import functools
import importlib.util
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError, GraphFigures
from stoker_worker.engine.speed import switches
from stoker_worker.engine.speed.attention import preferring_cudnn
from stoker_worker.engine.speed.compile_cache import CompileCache, NoStore
from stoker_worker.engine.speed.compiling import Compiled, Store, prepare, twin
from stoker_worker.engine.speed.graphs import Graphs
from stoker_worker.engine.speed.layout import lay_out_by_pixel
from stoker_worker.engine.speed.precisions import Formats, Precisions
from stoker_worker.engine.speed.recording import CudaRecorder, Recorder
from stoker_worker.engine.speed.settled import heard, settle
from stoker_worker.engine.start.pipeline import Loaded

log = logging.getLogger(__name__)

_DENOISERS = ("unet", "transformer", "transformer_2")
"""A pipeline's denoisers. The first that it has is compiled and may skip steps: where there are two, it has the noisier half."""
_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3", "image_encoder")
_FIRST_BLOCK_THRESHOLD = 0.08
"""How much the first block's result may change for the others to be skipped (diffusers, ``optimization/para_attn.md``)."""


class Speed:
    """What makes one pipeline fast. Belongs to the model's thread.

    `recorder` is the device that records graphs; None where there is none. `backend` is what torch compiles with.
    """

    def __init__(
        self, loaded: Loaded, names: frozenset[str], recorder: Recorder | None, cache: Path | None = None, backend: Any = "inductor"
    ) -> None:
        self._loaded = loaded
        self._torch = loaded.torch
        self._names = names
        denoiser: tuple[str, Any] = next(_parts(loaded.pipe, _DENOISERS), ("", None))
        self._denoising, self._denoiser = denoiser
        self._cache = cache
        self._backend = backend
        self._graphs = Graphs(loaded.torch, recorder) if recorder is not None and switches.NO_GRAPHS not in names else None
        self._exclusive = recorder.exclusive if recorder is not None else threading.Lock()
        self._compiled: Compiled | None = None
        self._formats = [Formats(module) for _, module in _parts(loaded.pipe, ("vae",))]
        self._precisions: list[Precisions] = []
        self._life = contextlib.ExitStack()

    def apply(self) -> None:
        """Put every switch in force. Raises FatalEngineError in words when one cannot be."""
        switches.check(self._names, self._place())
        settle(self._torch, self._loaded.pipe)
        self._life.enter_context(heard())
        if switches.CUDNN_ATTENTION in self._names:
            self._life.enter_context(preferring_cudnn(self._torch))
        if switches.FUSED_NORMS in self._names:
            self._fuse_norms()
        if self._names & {switches.CHANNELS_LAST, switches.FUSED_NORMS}:
            for _, module in _parts(self._loaded.pipe, (*_DENOISERS, "vae")):
                lay_out_by_pixel(self._torch, module)
        if switches.FIRST_BLOCK_CACHE in self._names:
            _cache_first_block(self._denoiser)
        if switches.COMPILE in self._names:
            self._compiled = self._compile(self._denoiser)
        if self._graphs is not None:
            self._record(self._graphs)

    def begin(self) -> None:
        """Before a batch: take code that has been compiled meanwhile, and what a failed or cancelled batch left behind away."""
        for formats in self._formats:
            formats.restore()
        if switches.FIRST_BLOCK_CACHE in self._names:
            self._denoiser._reset_stateful_cache()  # noqa: SLF001 - diffusers does so itself, but only where a call ends well
        if self._compiled is not None and self._compiled.adopt() and self._graphs is not None:
            self._graphs.forget(self._denoising)

    def forget(self) -> None:
        """Give back what only saves time: the card is full, or the weights are about to leave it."""
        if self._graphs is not None:
            self._graphs.free()
        for precisions in self._precisions:
            precisions.forget()

    def hold_still(self) -> bool:
        """Keep the compiler from the weights, which are about to be parked, until `go_on`; False where it is at work on them."""
        return self._exclusive.acquire(blocking=False)

    def go_on(self) -> None:
        """The weights are in their places: the compiler may go on."""
        self._exclusive.release()

    def close(self) -> None:
        """Leave the process as it was. The pipeline itself stays changed."""
        self.forget()
        self._life.close()

    @property
    def warm_runs(self) -> int:
        """How often a shape is to be run before the first job: what is recorded is recorded in the second run."""
        return 1 if self._graphs is None else 2

    @property
    def graphs(self) -> int:
        """Recorded calls that are held."""
        return self._graphs.count if self._graphs is not None else 0

    def graph_figures(self) -> Mapping[str, GraphFigures]:
        """The same by part of the pipeline, with what was decided."""
        return self._graphs.figures() if self._graphs is not None else {}

    @property
    def compiled_code_waits(self) -> threading.Event | None:
        """Set while compiled code is ready to be taken by the next batch; None without the switch."""
        return self._compiled.waiting if self._compiled is not None else None

    def _place(self) -> switches.Place:
        capability = self._torch.cuda.get_device_capability() if self._loaded.device == "cuda" else None
        has_triton = importlib.util.find_spec("triton") is not None
        return switches.Place(
            capability,
            has_triton=has_triton,
            has_denoiser=self._denoiser is not None,
            caches_steps=hasattr(self._denoiser, "enable_cache"),
        )

    def _fuse_norms(self) -> None:
        """Our norms, and pictures that lie by pixel from one convolution to the next, which torch's own norms and blocks undo."""
        from stoker_worker.engine.speed import norms  # noqa: PLC0415 - only with the switch

        try:
            norms.try_out(self._loaded.device)
        except Exception as error:
            words = f"OPTIMIZATION: {switches.FUSED_NORMS} cannot compile its kernels here ({type(error).__name__})"
            remedy = "Triton needs a C compiler and a home folder to write in; or leave the switch out"
            raise FatalEngineError(ExitReason.SETTINGS_INVALID, f"{words}; {remedy}") from error
        for part, module in _parts(self._loaded.pipe, (*_DENOISERS, "vae")):
            log.info("%s has %d norms of ours", part, norms.fuse(module))
            norms.keep_by_pixel(module)

    def _compile(self, denoiser: Any) -> Compiled:
        prepared = prepare(self._torch, twin(denoiser), self._backend)
        compiled = Compiled(self._torch, denoiser.forward, prepared, self._store(), self._exclusive)
        denoiser.forward = compiled.as_forward()
        return compiled

    def _store(self) -> Store:
        if self._cache is None:
            return NoStore()
        card = self._torch.cuda.get_device_name() if self._loaded.device == "cuda" else "cpu"
        cache = CompileCache(self._torch, self._cache, card)
        cache.open()
        return cache

    def _record(self, graphs: Graphs) -> None:
        pipe = self._loaded.pipe
        skipped = _DENOISERS if switches.FIRST_BLOCK_CACHE in self._names else ()
        for part, module in _parts(pipe, (*_ENCODERS, *_DENOISERS)):
            if part not in skipped and not _hooked(part, module):
                module.forward = graphs.graphed(part, module, module.forward)
        for part, module in _parts(pipe, ("vae",)):
            if not _hooked(part, module):
                if Precisions.turned_in_each_call(self._torch, module):
                    self._precisions.append(Precisions(self._torch, module))
                module.decode = graphs.graphed(part, module, module.decode, functools.partial(_ways, module))


def recorder_of(loaded: Loaded) -> Recorder | None:
    """The device that records graphs; None on a CPU."""
    return CudaRecorder(loaded.torch) if loaded.device == "cuda" else None


def _parts(pipe: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name in names:
        module = getattr(pipe, name, None)
        if module is not None:
            yield name, module


def _cache_first_block(denoiser: Any) -> None:
    from diffusers import FirstBlockCacheConfig  # noqa: PLC0415 - only with the switch

    try:
        denoiser.enable_cache(FirstBlockCacheConfig(threshold=_FIRST_BLOCK_THRESHOLD))
    except Exception as error:
        words = f"OPTIMIZATION: {switches.FIRST_BLOCK_CACHE} does not work with this model ({type(error).__name__}); leave it out"
        raise FatalEngineError(ExitReason.SETTINGS_INVALID, words) from error


def _ways(vae: Any) -> tuple[bool, ...]:
    """How the VAE works apart from its arguments: in slices, in tiles."""
    return tuple(bool(getattr(vae, name, False)) for name in ("use_slicing", "use_tiling"))


def _hooked(part: str, module: Any) -> bool:
    """Whether Python runs around the module's kernels, which a graph would leave out."""
    found = any(
        each._forward_hooks or each._forward_pre_hooks or hasattr(each, "_hf_hook") or hasattr(each, "_diffusers_hook")  # noqa: SLF001
        for each in module.modules()
    )
    if found:
        log.info("%s has hooks and is launched kernel by kernel", part)
    return found
