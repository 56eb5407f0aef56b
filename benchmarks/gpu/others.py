"""Weights onto the card, a video, and a picture that keeps the card busy."""

import gc
import io
import time
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.gpu.models import Stage, flux, sdxl_turbo, svd_xt
from benchmarks.gpu.rounds import Timer, duel
from benchmarks.gpu.sides import StockOrder, closeness, engine, our_rows, stock_pipeline
from benchmarks.result import rounded, say
from stoker_contracts.jobs import ImageToVideo
from stoker_contracts.pipelines import Pipeline
from stoker_worker.encoding.mp4 import encode_mp4
from stoker_worker.engine.families import equal_parts, family_of
from stoker_worker.engine.protocol import Footprint
from stoker_worker.engine.speed.compiling import twin
from stoker_worker.engine.speed.speed import Speed, recorder_of
from stoker_worker.engine.start.pipeline import Loaded, Model, load_pipeline

_COMPILE_SECONDS = 300.0


def weights(stage: Stage) -> dict[str, Any]:
    """SDXL-Turbo from the page cache to the card: ``from_pretrained`` and ``to``, and the worker's loader."""
    model_id, folder = sdxl_turbo(stage)
    size = sum(file.stat().st_size for file in (folder / model_id).rglob("*.safetensors"))
    timer = Timer(stage.torch, stage.device)
    model = Model(Pipeline.TEXT_TO_IMAGE, model_id, folder, stage.device)

    def once(load: Any) -> float:
        kept: list[Any] = []
        seconds = timer.seconds(lambda: kept.append(load()))
        kept.clear()
        gc.collect()
        if stage.device == "cuda":
            stage.torch.cuda.empty_cache()
        return seconds

    def stock() -> float:
        return once(lambda: stock_pipeline(stage, folder / model_id))

    def ours() -> float:
        return once(lambda: load_pipeline(model, lambda _stage, _seconds: None))

    stock(), ours()
    both = duel(stock, ours, stage.rounds, stage.seconds / 2)
    raw = both.raw()
    return {"weights_vs_stock": both.ratio, "weights_gb_per_s": rounded(size / 1e9 / raw["ours_s"]), "raw_weights": raw}


def video(stage: Stage) -> dict[str, Any]:
    """SVD-XT, 25 frames in as many steps as asked for, by lossless switches; and its answer's CPU time as MP4 beside 25 PNG."""
    stock_order = StockOrder(stage.torch)
    model = svd_xt(stage)
    pipe = stock_pipeline(stage, model[1] / model[0])
    lossless = ("fused-norms", "cudnn-attention") if stage.true_size else ("channels-last",)
    ours = engine(stage, Pipeline.IMAGE_TO_VIDEO, model, *lossless)
    timer = Timer(stage.torch, stage.device)
    width, height = stage.pick(1024, 64), stage.pick(576, 64)
    job = ImageToVideo(width=width, height=height, num_inference_steps=stage.pick(stage.video_steps, 1))
    most = family_of(model[0], Pipeline.IMAGE_TO_VIDEO).decoded_together
    together = equal_parts(pipe.unet.config.num_frames, most) if most is not None else None
    picture = Image.effect_noise((width, height), 64).convert("RGB")

    def stock_frames() -> list[Any]:
        with stock_order():
            frames = pipe(picture, width=width, height=height, num_inference_steps=job.num_inference_steps,
                          fps=job.fps, motion_bucket_id=job.motion_bucket_id, noise_aug_strength=job.noise_aug_strength,
                          decode_chunk_size=together, generator=stage.torch.Generator("cpu").manual_seed(1)).frames[0]  # fmt: skip
        return [np.asarray(frame) for frame in frames]

    def our_frames() -> list[Any]:
        return our_rows(ours, [job], [1], image=picture)[0]

    frames = our_frames()
    apart = closeness(frames, stock_frames())
    if stage.true_size:
        our_frames()
    both = duel(lambda: timer.seconds(stock_frames), lambda: timer.seconds(our_frames), stage.rounds, stage.seconds / 2)
    return {"svd_vs_stock": both.ratio, "svd_psnr_db": apart["psnr_db"], **_encoded(frames, job.fps),
            "raw_svd": both.raw() | {"apart_from_stock": apart, "steps": job.num_inference_steps}}  # fmt: skip


def _encoded(frames: list[Any], fps: int) -> dict[str, float]:
    """CPU seconds and bytes of 25 PNG by Pillow, as multiples of the MP4's."""
    began = time.process_time()
    pictures = [_pillow_png(frame) for frame in frames]
    between = time.process_time()
    clip = encode_mp4(frames, fps)
    ended = time.process_time()
    return {
        "svd_encode_cpu_vs_png": rounded((between - began) / (ended - between)),
        "svd_bytes_vs_png": rounded(sum(map(len, pictures)) / len(clip)),
    }


def _pillow_png(frame: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


def flux_picture(stage: Stage) -> dict[str, Any]:
    """FLUX.1-dev, 28 steps at 1024 px, prompt embeddings given: compiled and with cuDNN's attention, beside the same weights."""
    stock_order = StockOrder(stage.torch)
    pipe = flux(stage)
    plain = type(pipe)(**{**pipe.components, "transformer": twin(pipe.transformer)})
    plain.set_progress_bar_config(disable=True)
    loaded = Loaded(pipe, stage.torch, stage.device, frozenset(), Footprint())
    names = {"compile", "cudnn-attention"} if stage.true_size else {"compile"}
    speed = Speed(loaded, frozenset(names), recorder_of(loaded), backend="inductor" if stage.true_size else "eager")
    speed.apply()
    timer = Timer(stage.torch, stage.device)

    def picture(which: Any) -> Any:
        made = stage.torch.Generator("cpu").manual_seed(1)
        known = pipe.transformer.config
        embeds = stage.torch.randn(1, stage.pick(512, 32), known.joint_attention_dim, generator=made)
        pooled = stage.torch.randn(1, known.pooled_projection_dim, generator=made)
        like = {"device": stage.device, "dtype": pipe.transformer.dtype}
        side = stage.pick(1024, 32)
        with stage.torch.inference_mode():
            return which(
                prompt_embeds=embeds.to(**like), pooled_prompt_embeds=pooled.to(**like), width=side, height=side,
                num_inference_steps=stage.pick(28, 1), guidance_scale=3.5, generator=made, output_type="np",
            ).images[0]  # fmt: skip

    def stock() -> Any:
        with stock_order():
            return picture(plain)

    meanwhile = _until_compiled(speed, lambda: timer.seconds(lambda: picture(pipe)))
    picture(pipe), picture(pipe)
    apart = closeness(*([np.round(made * 255).astype(np.uint8)] for made in (picture(pipe), stock())))
    both = duel(lambda: timer.seconds(stock), lambda: timer.seconds(lambda: picture(pipe)), stage.rounds, stage.seconds / 3)
    speed.close()
    return {
        "flux_vs_stock": both.ratio, "flux_psnr_db": apart["psnr_db"],
        "raw_flux": both.raw() | {"apart_from_stock": apart, "job_s_while_compiling": meanwhile},
    }  # fmt: skip


def _until_compiled(speed: Speed, job: Any) -> list[float]:
    """Seconds of the jobs that ran until compiled code was there."""
    took: list[float] = []
    waits = speed.compiled_code_waits
    deadline = time.monotonic() + _COMPILE_SECONDS
    while waits is not None and not waits.is_set() and time.monotonic() < deadline:
        took.append(rounded(job()))
    if waits is not None and not waits.is_set():
        say("the compiler was not done in time: what follows is not compiled")
    speed.begin()
    return [min(took), max(took)]
