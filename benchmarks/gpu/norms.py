"""Group norms with SiLU by torch and by the worker's kernels, at the sizes of SDXL's VAE, and the whole decoder with either."""

from collections.abc import Callable
from typing import Any

from benchmarks.gpu.models import Stage, sdxl_turbo
from benchmarks.gpu.rounds import Timer
from benchmarks.gpu.sides import stock_pipeline
from benchmarks.result import rounded
from stoker_worker.engine.speed.layout import lay_out_by_pixel
from stoker_worker.engine.speed.recording import CudaRecorder

_SIZES = ((1, 128, 512), (1, 256, 512), (1, 512, 256), (8, 128, 512))
"""Pictures, channels and side of what SDXL's VAE normalises on its way to 512 pixels."""
_GROUPS = 32
_CALLS = 10


def norms(stage: Stage) -> dict[str, Any]:
    """The least ratio of all sizes, formats and layouts, and that of the decoder; raw figures in microseconds and milliseconds."""
    timer = Timer(stage.torch, stage.device)
    with stage.torch.inference_mode():
        cases = {name: case for size in _SIZES for name, case in _cases(stage, timer, size).items()}
        decoder = {f"decode_b{rows}": _decoder(stage, timer, rows) for rows in (1, 8)}
    return {
        "norms_vs_torch": rounded(min(torchs / ours for torchs, ours in cases.values())),
        "decoder_vs_stock": rounded(min(stock / ours for stock, ours in decoder.values())),
        "raw_norms": {"us_torch_and_ours": cases, "ms_stock_and_ours": decoder},
    }


def _cases(stage: Stage, timer: Timer, size: tuple[int, int, int]) -> dict[str, list[float]]:
    """Microseconds of torch's norm and of ours, in each format and layout."""
    from stoker_worker.engine.speed.norms import FusedGroupNorm  # noqa: PLC0415 - it imports diffusers

    torch = stage.torch
    rows, channels, side = size
    found = {}
    for dtype in (torch.float32, torch.float16):
        norm = torch.nn.GroupNorm(_GROUPS, channels, device=stage.device, dtype=dtype)
        ours = FusedGroupNorm(norm, activated=True)
        for layout in (torch.contiguous_format, torch.channels_last):
            sides = stage.pick(side, 16)
            given = torch.randn(rows, channels, sides, sides, device=stage.device, dtype=dtype).contiguous(memory_format=layout)
            ways = (
                lambda given=given, norm=norm: torch.nn.functional.silu(norm(given)),
                lambda given=given, ours=ours: ours(given),
            )
            name = f"{rows}x{channels}x{side}x{side} {dtype} {layout}".replace("torch.", "")
            found[name] = [rounded(_seconds(timer, way) * 1e6) for way in ways]
    return found


def _seconds(timer: Timer, way: Callable[[], Any]) -> float:
    """Of one call among several, so that the card is never out of work."""

    def often() -> None:
        for _ in range(_CALLS):
            way()

    often()
    return timer.median(often, 5) / _CALLS


def _decoder(stage: Stage, timer: Timer, rows: int) -> list[float]:
    """Milliseconds of SDXL's decoder in float32, replayed: as it is, and with the worker's norms and layout."""
    from stoker_worker.engine.speed import norms as ours  # noqa: PLC0415 - it imports diffusers

    torch = stage.torch
    model_id, folder = sdxl_turbo(stage)
    vae = stock_pipeline(stage, folder / model_id).vae.float()
    side = stage.pick(64, 16)
    latents = torch.randn(rows, 4, side, side, device=stage.device)
    stock = _replayed(stage, timer, lambda: vae.decode(latents, return_dict=False)[0])
    ours.fuse(vae)
    ours.keep_by_pixel(vae)
    lay_out_by_pixel(torch, vae)
    return [stock, _replayed(stage, timer, lambda: vae.decode(latents, return_dict=False)[0])]


def _replayed(stage: Stage, timer: Timer, body: Callable[[], Any]) -> float:
    body()
    if stage.device != "cuda":
        return rounded(timer.seconds(body) * 1000)
    recorder = CudaRecorder(stage.torch)
    recorder.warm_up(body)
    recording, _ = recorder.record(body)
    return rounded(timer.median(recording.replay, _CALLS) * 1000)
