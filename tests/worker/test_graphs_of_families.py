"""Each family's whole pipeline with recorded calls, beside the same without: not a bit differs."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from stoker_contracts.jobs import ImageToImage, ImageToVideo, Job, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.protocol import Made, Row, Unheard
from tests.support.recorder import FakeRecorder
from tests.worker.conftest import Engines

if TYPE_CHECKING:
    from stoker_worker.engine.diffusers import DiffusersEngine

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

JOBS: dict[Pipeline, Job] = {
    Pipeline.TEXT_TO_IMAGE: TextToImage(prompt="a circle", width=64, height=32, num_inference_steps=2, guidance_scale=3),
    Pipeline.IMAGE_TO_IMAGE: ImageToImage(prompt="a circle", num_inference_steps=4, strength=0.5, guidance_scale=3),
    Pipeline.IMAGE_TO_VIDEO: ImageToVideo(width=64, height=32, num_inference_steps=2),
}
RECORDED = {"sd15": 2, "sdxl": 4, "sd3": 5, "flux": 4, "svd": 3, "ltx": 3, "wan": 3}
"""Calls of each family's first pipeline that are recorded: its text or image encoders, its denoiser, its VAE's decoder.

SD 1.5's pipeline hands its VAE a source of random numbers, which no recorded call can follow.
"""


def recording(engine: "DiffusersEngine", models: Path, device: FakeRecorder, *switches: str) -> "DiffusersEngine":
    """The same model once more, on a device that records."""
    from stoker_worker.engine.diffusers import DiffusersEngine  # noqa: PLC0415 - torch only where it is tested
    from stoker_worker.engine.speed.speed import Speed  # noqa: PLC0415 - as above

    made = DiffusersEngine(replace(engine._model, directory=models))
    made.load(lambda _name, _seconds: None)
    made._family = engine._family
    made._speed = Speed(made._ready, frozenset(switches), device)
    made._speed.apply()
    return made


def made_by(engine: "DiffusersEngine", pipeline: Pipeline, seed: int, **changes: int) -> Made:
    """One row's pictures, its prompt its own."""
    words = {} if pipeline is Pipeline.IMAGE_TO_VIDEO else {"prompt": f"circle {seed}"}
    noise = np.random.default_rng(seed).integers(0, 255, (4, 8, 3), dtype=np.uint8)
    image = None if pipeline is Pipeline.TEXT_TO_IMAGE else Image.fromarray(noise).resize((64, 32))
    (made,) = engine.run([Row(JOBS[pipeline].model_copy(update=words | changes), seed, image)], Unheard()).rows
    assert isinstance(made, list)
    return made


@pytest.mark.parametrize("family", list(tiny.FAMILIES))
def test_a_familys_pictures_are_the_same_bit_by_bit(family: str, engines: Engines, models: Path) -> None:
    pipeline, device = tiny.FAMILIES[family][0], FakeRecorder()
    plain = engines(family, pipeline)
    ours = recording(plain, models, device)
    for seed in range(3):
        assert np.array_equal(made_by(ours, pipeline, seed), made_by(plain, pipeline, seed))

    assert ours._fast.graphs == RECORDED[family] == sum(figures.held for figures in ours.graphs().values())
    assert plain.graphs() == {}
    assert device.replays > device.recorded


def test_a_change_of_size_and_back_is_the_same_bit_by_bit(engines: Engines, models: Path) -> None:
    plain = engines("sdxl", Pipeline.TEXT_TO_IMAGE)
    ours = recording(plain, models, FakeRecorder())
    for seed, side in enumerate((64, 64, 32, 32, 64, 32)):
        size = {"width": side, "height": side}
        wanted = made_by(plain, Pipeline.TEXT_TO_IMAGE, seed, **size)
        assert np.array_equal(made_by(ours, Pipeline.TEXT_TO_IMAGE, seed, **size), wanted)

    assert ours._fast.graphs == 2 + 2 + 2, "two text encoders, and a UNet and a VAE for each size"
    ours._fast.close()
    assert ours._fast.graphs == 0


def test_pictures_made_of_pictures_are_the_same_bit_by_bit(engines: Engines, models: Path) -> None:
    plain = engines("sdxl", Pipeline.IMAGE_TO_IMAGE)
    ours = recording(plain, models, FakeRecorder())
    for seed in range(3):
        assert np.array_equal(made_by(ours, Pipeline.IMAGE_TO_IMAGE, seed), made_by(plain, Pipeline.IMAGE_TO_IMAGE, seed))

    assert ours._fast.graphs == 4


def test_graphs_can_be_turned_off(engines: Engines, models: Path) -> None:
    device = FakeRecorder()
    ours = recording(engines("sd15", Pipeline.TEXT_TO_IMAGE), models, device, "no-graphs")
    for seed in range(3):
        made_by(ours, Pipeline.TEXT_TO_IMAGE, seed)

    assert device.recorded == 0
