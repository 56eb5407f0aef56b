"""Where the time of a one-step picture goes: by part and batch, launched kernel by kernel and replayed, cuDNN's attention first."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.gpu.models import Stage, sdxl_turbo
from benchmarks.gpu.rounds import Timer
from benchmarks.gpu.sides import stock_pipeline
from benchmarks.result import rounded, say
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.speed.attention import order, preferring_cudnn
from stoker_worker.engine.speed.graphs import Graphs
from stoker_worker.engine.speed.recording import CudaRecorder

BATCHES = (1, 2, 4, 8, 16)
_PARTS = (("text_encoder", "forward"), ("text_encoder_2", "forward"), ("unet", "forward"), ("vae", "decode"))
Heard = dict[str, tuple[tuple[Any, ...], dict[str, Any]]]


def where(stage: Stage) -> dict[str, Any]:
    """Milliseconds by size, batch, part and way."""
    model_id, folder = sdxl_turbo(stage)
    pipe = stock_pipeline(stage, folder / model_id)
    say(f"attention is tried in this order: {', '.join(order(stage.torch))}")
    deadline = time.monotonic() + stage.seconds
    rows: dict[str, Any] = {}
    sizes = [(stage.pick(512, 32), batch) for batch in BATCHES] + [(stage.pick(1024, 64), batch) for batch in BATCHES[:2]]
    for side, batch in sizes if stage.true_size else sizes[:2]:
        if time.monotonic() > deadline:
            say("the time is over; the other sizes are left out")
            break
        name = f"{side}_b{batch}"
        rows[name] = _split(stage, pipe, side, batch)
        say(f"  {name}: {rows[name]}")
    return {"where_ms": rows}


def _split(stage: Stage, pipe: Any, side: int, batch: int) -> dict[str, Any]:
    timer = Timer(stage.torch, stage.device)
    heard: Heard = {}
    with stage.torch.inference_mode():
        with _listening(pipe, heard):
            images = _call(stage, pipe, side, batch)
        found: dict[str, Any] = {"all_eager": _ms(timer, lambda: _call(stage, pipe, side, batch))}
        for part, method in _PARTS:
            found[part] = _ways(stage, timer, pipe, part, method, heard[part])
        found["post"] = _ms(timer, lambda: _bytes(images))
    pictures = list(_bytes(images))
    found["png"] = _ms(timer, lambda: [encode_png(np.ascontiguousarray(each)) for each in pictures])
    return found


def _ways(stage: Stage, timer: Timer, pipe: Any, part: str, method: str, heard: Any) -> dict[str, float]:
    """One part with the arguments that it was called with."""
    module = getattr(pipe, part)
    with _in_the_format_of(module, heard[0], turned=part == "vae"):
        return _timed(stage, timer, part, module, getattr(module, method), heard)


@contextmanager
def _in_the_format_of(module: Any, positional: tuple[Any, ...], *, turned: bool) -> Iterator[None]:
    """A VAE that the pipeline turns to float32 for the call, and back."""
    if not turned:
        yield
        return
    before = module.dtype
    module.to(dtype=positional[0].dtype)
    try:
        yield
    finally:
        module.to(dtype=before)


def _timed(stage: Stage, timer: Timer, part: str, module: Any, forward: Callable[..., Any], heard: Any) -> dict[str, float]:
    positional, named = heard
    found = {"eager": _ms(timer, lambda: forward(*positional, **named))}
    if stage.device == "cuda":
        found["graphed"] = _graphed_ms(stage, timer, part, module, forward, heard)
        if stage.torch.cuda.get_device_capability() >= (9, 0):
            with preferring_cudnn(stage.torch):
                found["cudnn_first"] = _ms(timer, lambda: forward(*positional, **named))
                found["cudnn_first_graphed"] = _graphed_ms(stage, timer, part, module, forward, heard)
    return found


def _graphed_ms(stage: Stage, timer: Timer, part: str, module: Any, forward: Callable[..., Any], heard: Any) -> float:
    """The same, replayed where the worker would: the worker's log says where it would not."""
    positional, named = heard
    graphed = Graphs(stage.torch, CudaRecorder(stage.torch)).graphed(part, module, forward)
    for _ in range(2):
        graphed(*positional, **named)
    return _ms(timer, lambda: graphed(*positional, **named))


@contextmanager
def _listening(pipe: Any, heard: Heard) -> Iterator[None]:
    """Keep what each part is called with."""
    before = {(part, method): getattr(getattr(pipe, part), method) for part, method in _PARTS}
    for (part, method), forward in before.items():

        def listen(*positional: Any, _part: str = part, _forward: Callable[..., Any] = forward, **named: Any) -> Any:
            heard[_part] = positional, named
            return _forward(*positional, **named)

        setattr(getattr(pipe, part), method, listen)
    try:
        yield
    finally:
        for (part, method), forward in before.items():
            setattr(getattr(pipe, part), method, forward)


def _call(stage: Stage, pipe: Any, side: int, batch: int) -> Any:
    prompts = [f"a red circle, number {number}" for number in range(batch)]
    generators = [stage.torch.Generator("cpu").manual_seed(seed) for seed in range(batch)]
    return pipe(
        prompt=prompts, width=side, height=side, num_inference_steps=1, guidance_scale=0.0, generator=generators, output_type="pt"
    ).images  # fmt: skip


def _bytes(images: Any) -> Any:
    return images.float().mul(255).round().to(dtype=images.new_empty(0).byte().dtype).permute(0, 2, 3, 1).cpu().numpy()


def _ms(timer: Timer, body: Callable[[], Any]) -> float:
    timer.seconds(body)
    return rounded(timer.median(body, 10 if timer.device == "cuda" else 1) * 1000)
