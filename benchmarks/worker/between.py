"""What Python does in a call between a pipeline's networks, while a card would have nothing to do.

SDXL-Turbo's pipeline with networks as deep as they are, and narrow. Each of them answers at once, from its second call on: what is
left is diffusers' own work, that of its schedulers and tokenizers, and the turns of the VAE to float32 and back.
"""

import inspect
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.models import Stage, Widths, sdxl_networks
from benchmarks.gpu.rounds import Timer, duel
from benchmarks.gpu.sides import picture_job
from stoker_contracts.jobs import TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.families import family_of
from stoker_worker.engine.protocol import Footprint, Row, Unheard
from stoker_worker.engine.rows.batch import run_batch
from stoker_worker.engine.speed.precisions import Precisions
from stoker_worker.engine.speed.settled import heard, settle
from stoker_worker.engine.start.importing import import_libraries
from stoker_worker.engine.start.pipeline import Loaded

_MODEL_ID = "stabilityai/sdxl-turbo"
_NARROW = Widths(48, 80, (32, 64, 128), (1, 2, 4), (32, 32, 64, 64))
_ROUNDS = 100
_SECONDS = 20.0


def python_vs_stock(scratch: Path) -> dict[str, Any]:
    """The ratio, and both in milliseconds."""
    torch = import_libraries("StableDiffusionXLPipeline", lambda _stage, _seconds: None).torch
    torch.set_num_threads(1)
    stage = Stage(torch, "cpu", scratch, _SECONDS, _ROUNDS)
    job = picture_job(stage)
    timer = Timer(torch, stage.device)
    stock, ours = _stock(stage, job), _ours(stage, job)
    stock(), ours()
    with heard():
        both = duel(lambda: timer.seconds(stock), lambda: timer.seconds(ours), _ROUNDS, _SECONDS)
    return {
        "python_vs_stock": both.ratio,
        "stock_ms": statistics.median(both.stock) * 1000,
        "ours_ms": statistics.median(both.ours) * 1000,
    }


def _stock(stage: Stage, job: TextToImage) -> Any:
    pipe = _pipe(stage)
    fields = {"prompt": job.prompt, "width": job.width, "height": job.height, "num_inference_steps": job.num_inference_steps}

    def call() -> Any:
        return pipe(**fields, guidance_scale=0.0, output_type="pt", generator=stage.torch.Generator("cpu").manual_seed(1)).images

    return call


def _ours(stage: Stage, job: TextToImage) -> Any:
    """As the worker calls it on a card."""
    pipe = _pipe(stage)
    settle(stage.torch, pipe)
    Precisions(stage.torch, pipe.vae)
    loaded = Loaded(pipe, stage.torch, stage.device, frozenset(inspect.signature(pipe.__call__).parameters), Footprint(0))
    family = family_of(_MODEL_ID, Pipeline.TEXT_TO_IMAGE)
    return lambda: run_batch(loaded, family, [Row(job, 1)], Unheard())


def _pipe(stage: Stage) -> Any:
    import diffusers  # noqa: PLC0415 - `--help` must not wait for it

    with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
        pipe = diffusers.DiffusionPipeline.from_pretrained(tiny.write(Path(folder), Pipeline.TEXT_TO_IMAGE), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    networks = sdxl_networks(stage, len(pipe.tokenizer), _NARROW)
    pipe.register_modules(**{name: network.eval() for name, network in networks.items()})
    for name, network in networks.items():
        _answer_at_once(network, "decode" if name == "vae" else "forward")
    return pipe


def _answer_at_once(network: Any, method: str) -> None:
    """Let a method give what its first call gave."""
    answers: list[Any] = []
    run = getattr(network, method)

    def answer(*positional: Any, **named: Any) -> Any:
        if not answers:
            answers.append(run(*positional, **named))
        return answers[0]

    setattr(network, method, answer)
