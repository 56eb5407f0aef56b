"""SDXL-Turbo, one step at 512 px: how soon one picture is there, and how many there are with 32 callers."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gpu.models import Stage, sdxl_turbo
from benchmarks.gpu.rounds import Timer, duel
from benchmarks.gpu.sides import (
    StockOrder,
    closeness,
    engine,
    our_answer,
    our_rows,
    picture_job,
    stock_answer,
    stock_picture,
    stock_pipeline,
)
from benchmarks.processes import BenchmarkError
from benchmarks.result import rounded
from benchmarks.worker.started import started
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_worker.engine.diffusers import DiffusersEngine

CLIENTS = 32
_CALLS = 6
_WINDOW_SECONDS = 3.0
_WARM = 3
"""Calls before anything is timed: the second of a form is recorded."""


def latency(stage: Stage) -> dict[str, Any]:
    """From the call to the answer's bytes, and to the pixels alone: by what is on by itself, and by lossless switches as well.

    Pictures of the first must be those of the same engine without graphs, bit by bit.
    """
    model = sdxl_turbo(stage)
    beside = _Beside(stage, stock_pipeline(stage, model[1] / model[0]), StockOrder(stage.torch))
    side = picture_job(stage).width
    exact, eager = (engine(stage, Pipeline.TEXT_TO_IMAGE, model, *switches, side=side) for switches in ((), ("no-graphs",)))
    seeds = range(100, 100 + stage.pick(8, 2))
    found = {f"sdxl_{name}": figure for name, figure in beside.measured(exact, seeds).items()}
    plain = [_pixels(stage, eager, seed) for seed in seeds]
    identical = all(np.array_equal(_pixels(stage, exact, seed), picture) for seed, picture in zip(seeds, plain, strict=True))
    found["sdxl_bit_identical"] = float(identical)
    lossless = engine(
        stage, Pipeline.TEXT_TO_IMAGE, model, *_lossless(stage), side=side
    )  # only now: it asks all of torch for cuDNN
    return found | {f"sdxl_lossless_{name}": figure for name, figure in beside.measured(lossless, seeds).items()}


def _lossless(stage: Stage) -> tuple[str, ...]:
    """The switches that change no more than the last bits and need no compiler."""
    return ("cudnn-attention", "fused-norms") if stage.true_size else ("channels-last",)


def _pixels(stage: Stage, ours: DiffusersEngine, number: int) -> Any:
    """The picture of one job by the worker's engine."""
    return our_rows(ours, [picture_job(stage, number)], [number])[0][0]


@dataclass(frozen=True, slots=True)
class _Beside:
    """Measures engines beside stock diffusers."""

    stage: Stage
    pipe: Any
    stock_order: StockOrder

    def measured(self, ours: DiffusersEngine, seeds: Iterable[int]) -> dict[str, Any]:
        """Both ratios, and how far the pictures lie from stock's."""
        stage, timer = self.stage, Timer(self.stage.torch, self.stage.device)
        calls = stage.pick(_CALLS, 1)

        def stock(number: int = 0) -> Any:
            with self.stock_order():
                return stock_picture(stage, self.pipe, picture_job(stage, number), number)

        for number in range(_WARM):
            stock(number)
            _pixels(stage, ours, number)
        apart = closeness([_pixels(stage, ours, seed) for seed in seeds], [np.asarray(stock(seed)) for seed in seeds])
        whole = duel(
            lambda: timer.median(lambda: stock_answer(stock()), calls),
            lambda: timer.median(lambda: our_answer(_pixels(stage, ours, 0)), calls),
            stage.rounds, stage.seconds / 6,
        )  # fmt: skip
        pixels = duel(
            lambda: timer.median(stock, calls), lambda: timer.median(lambda: _pixels(stage, ours, 0), calls),
            stage.rounds, stage.seconds / 6,
        )  # fmt: skip
        return {
            "latency_vs_stock": whole.ratio, "pipeline_vs_stock": pixels.ratio, "psnr_db": apart["psnr_db"],
            "raw": {"answer": whole.raw(), "pixels": pixels.raw(), "apart_from_stock": apart},
        }  # fmt: skip


def throughput(stage: Stage) -> dict[str, Any]:
    """The worker as a process behind HTTP with 32 callers and lossless switches, beside diffusers with one answer at a time."""
    model = sdxl_turbo(stage)
    pipe = stock_pipeline(stage, model[1] / model[0])
    job = picture_job(stage)
    window = _WINDOW_SECONDS if stage.true_size else 0.5
    settings = {
        "PIPELINE": "text-to-image", "MODEL_ID": model[0], "MODEL_DIR": str(model[1]), "DEVICE": stage.device,
        "CAPACITY": str(CLIENTS), "MAX_BATCH": "16", "OPTIMIZATION": ",".join(_lossless(stage)),
        "WARM_SHAPES": ",".join(f"{job.width}x{job.height}x{rows}" for rows in (1, 8, 16)),
    }  # fmt: skip

    def one_by_one() -> float:
        return window / max(1, _counted(window, lambda number: stock_answer(stock_picture(stage, pipe, job, number))))

    with started(stage.folder, **settings) as worker:
        worker.wait_until_loaded()

        def crowd() -> float:
            return window / max(1, _crowded(window, worker.port, job.model_dump(mode="json", exclude={"seed"})))

        one_by_one()
        crowd()
        both = duel(one_by_one, crowd, stage.rounds, stage.seconds / 2)
    fastest = 1 / min(both.ours)
    return {"sdxl_throughput_vs_stock": both.ratio, "sdxl_pictures_per_s": rounded(fastest), "raw_throughput": both.raw()}


def _counted(seconds: float, body: Callable[[int], Any]) -> int:
    """How often `body` ended in so many seconds."""
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        body(count)
        count += 1
    return count


def _crowded(seconds: float, port: int, job: dict[str, Any]) -> int:
    """Answers that 32 callers got in so many seconds. Raises BenchmarkError when one was no picture."""
    counts, failures = [0] * CLIENTS, []

    def call(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

        def post(count: int) -> None:
            body = json.dumps(job | {"seed": 1000 * number + count})
            connection.request("POST", FACTS[Pipeline.TEXT_TO_IMAGE].route, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            words = answer.read()
            if answer.status != http.HTTPStatus.OK:
                message = f"a job ended with {answer.status}: {words[:200]!r}"
                raise BenchmarkError(message)

        try:
            counts[number] = _counted(seconds, post)
        except (OSError, BenchmarkError) as error:
            failures.append(str(error))
        finally:
            connection.close()

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CLIENTS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if failures:
        raise BenchmarkError(failures[0])
    return sum(counts)
