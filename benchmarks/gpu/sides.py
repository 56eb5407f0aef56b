"""The two sides: diffusers as its documentation has it, and this worker's engine."""

import base64
import io
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.gpu.models import Stage
from benchmarks.processes import BenchmarkError
from stoker_contracts.jobs import Job, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.domain.shapes import Shape
from stoker_worker.encoding.png import encode_png
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import Made, Row, Unheard
from stoker_worker.engine.speed.attention import order
from stoker_worker.engine.start.pipeline import Model

Pixels = NDArray[np.uint8]


class StockOrder:
    """Attention kernels in torch's own order, whatever the worker's engine asks for in this process."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self.names = order(torch)

    def __call__(self) -> AbstractContextManager[Any]:
        """To be entered around what is stock."""
        attention = self._torch.nn.attention
        kinds = attention.SDPBackend.__members__
        made: AbstractContextManager[Any] = attention.sdpa_kernel([kinds[name] for name in self.names], set_priority=True)
        return made


def stock_pipeline(stage: Stage, folder: Path) -> Any:
    """``from_pretrained`` and ``to``, in float16 on a card."""
    import diffusers  # noqa: PLC0415 - `--help` must not wait for it

    dtype = stage.torch.float16 if stage.true_size else stage.torch.float32
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True).to(stage.device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def engine(stage: Stage, pipeline: Pipeline, model: tuple[str, Path], *switches: str, side: int | None = None) -> DiffusersEngine:
    """This worker's engine, loaded; with `side` it is warmed up for squares of that size instead of the size of unnamed jobs."""
    model_id, folder = model
    shapes = () if side is None else (Shape(side, side),)
    made = DiffusersEngine(Model(pipeline, model_id, folder, stage.device, frozenset(switches), warm_shapes=shapes))
    made.load(lambda _stage, _seconds: None)
    return made


def picture_job(stage: Stage, number: int = 0) -> TextToImage:
    """One picture of one step at 512 px; each number has a prompt of its own."""
    side = stage.pick(512, 32)
    return TextToImage(prompt=f"a red circle, number {number}", width=side, height=side, num_inference_steps=1, guidance_scale=0)


def stock_picture(stage: Stage, pipe: Any, job: TextToImage, seed: int) -> Any:
    """A Pillow image, as diffusers gives by default."""
    return pipe(
        prompt=job.prompt, width=job.width, height=job.height, num_inference_steps=job.num_inference_steps, guidance_scale=0.0,
        generator=stage.torch.Generator("cpu").manual_seed(seed),
    ).images[0]  # fmt: skip


def stock_answer(picture: Any) -> bytes:
    """Pillow's PNG in JSON, as the reference servers answer."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return json.dumps({"images": [{"url": f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"}]}).encode()


def our_rows(made: DiffusersEngine, jobs: list[Job], seeds: list[int], **fields: Any) -> list[Made]:
    """The rows of one batch. Raises BenchmarkError where one failed."""
    rows = [Row(job, seed, **fields) for job, seed in zip(jobs, seeds, strict=True)]
    results = made.run(rows, Unheard()).rows
    for each in results:
        if isinstance(each, Exception):
            message = f"the worker's engine failed: {each}"
            raise BenchmarkError(message)
    return [each for each in results if isinstance(each, list)]


def our_answer(picture: Pixels) -> bytes:
    """The worker's PNG in JSON."""
    url = "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()
    return orjson.dumps({"images": [{"url": url}]})


def closeness(ours: list[Pixels], stock: list[Pixels]) -> dict[str, float]:
    """How far pictures lie apart: the greatest difference, that of 99.9 % of the values, and the ratio of peak to noise in dB."""
    apart = np.abs(np.stack(ours).astype(np.int16) - np.stack(stock).astype(np.int16))
    error = float(np.mean(apart.astype(np.float64) ** 2))
    psnr = 99.0 if error == 0 else float(10 * np.log10(255**2 / error))
    return {"most": int(apart.max()), "most_of_999": int(np.quantile(apart, 0.999)), "psnr_db": round(psnr, 1)}
