"""The card's benchmark, rehearsed with tiny models on the CPU: its code, and no figure of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu.pictures import CLIENTS, _crowded
from benchmarks.gpu.rounds import duel
from benchmarks.gpu.run import PARTS, main
from benchmarks.gpu.sides import closeness
from benchmarks.worker.started import started

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_nothing_is_measured_and_that_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([])

    assert code == 0
    assert told(capsys) == {"measured": False, "why": "torch sees no CUDA device on this machine"}


@pytest.mark.parametrize("part", sorted(PARTS.keys() - {"throughput"}))
def test_each_part_runs_to_its_end_and_its_figures_are_those_of_its_targets(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--rehearse", "--only", part, "--scratch", str(tmp_path)])
    figures = told(capsys)
    torch._dynamo.reset()

    assert code == 0
    assert figures["measured"] is False
    assert PARTS[part].least.keys() <= figures.keys()
    assert figures.get("sdxl_bit_identical", 1) == 1
    assert min(figures.get(name, 99) for name in ("svd_psnr_db", "flux_psnr_db")) >= 45
    assert not list(tmp_path.iterdir()), "the models are gone afterwards"


def test_a_crowd_is_answered_by_a_worker(tmp_path: Path) -> None:
    settings = {"PIPELINE": "text-to-image", "MODEL_ID": "m", "ENGINE": "stub", "CAPACITY": str(CLIENTS), "STUB_SCRIPT": "{}"}
    with started(tmp_path, **settings) as worker:
        worker.wait_until_loaded()
        answers = _crowded(0.5, worker.port, {"prompt": "a circle", "width": 64, "height": 64, "num_inference_steps": 1})

    assert answers >= CLIENTS


def side(name: str, took: float, order: list[str]) -> Callable[[], float]:
    def measure() -> float:
        order.append(name)
        return took

    return measure


def test_rounds_take_turns_in_going_first_and_give_their_median_ratio() -> None:
    order: list[str] = []
    both = duel(side("stock", 6.0, order), side("ours", 2.0, order), rounds=3, seconds=60)

    assert order == ["stock", "ours", "ours", "stock", "stock", "ours"]
    assert both.ratio == 3.0
    assert both.spread == [3.0, 3.0]


def test_rounds_end_with_their_time_but_not_before_five() -> None:
    order: list[str] = []
    both = duel(side("stock", 1.0, order), side("ours", 1.0, order), rounds=9, seconds=0)

    assert len(both.ours) == 5


def test_pictures_that_are_the_same_lie_nowhere_apart() -> None:

    dark, light = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 3, np.uint8)

    assert closeness([dark], [dark]) == {"most": 0, "most_of_999": 0, "psnr_db": 99.0}
    assert closeness([dark], [light])["most"] == 3
    assert 38 < closeness([dark], [light])["psnr_db"] < 39
