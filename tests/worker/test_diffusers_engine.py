"""The real pipelines, tiny and random, through the worker's own path."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stoker_contracts.jobs import ImageToImage, ImageToVideo, Job, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import CancelledError, FatalEngineError, Made, Row, Task, Unheard
from stoker_worker.engine.start.folders import find_model
from stoker_worker.engine.start.pipeline import Model
from tests.worker.conftest import Engines

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

FAMILY = {Pipeline.TEXT_TO_IMAGE: "sdxl", Pipeline.IMAGE_TO_IMAGE: "sdxl", Pipeline.IMAGE_TO_VIDEO: "svd"}
PICTURE = Image.new("RGB", (64, 48), "red")
JOBS: dict[Pipeline, Job] = {
    Pipeline.TEXT_TO_IMAGE: TextToImage(prompt="a red circle", width=64, height=64, num_inference_steps=2),
    Pipeline.IMAGE_TO_IMAGE: ImageToImage(prompt="a red circle", num_inference_steps=4, strength=0.5),
    Pipeline.IMAGE_TO_VIDEO: ImageToVideo(width=64, height=64, num_inference_steps=1),
}


class StoppedAfter:
    """After so many steps nobody waits any more."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.made = 0

    def stepped(self) -> frozenset[int]:
        self.made += 1
        if self.made == self._steps:
            raise CancelledError
        return frozenset()


def no_stage(_name: str, _seconds: float) -> None:
    """Nobody asks how the start went."""


def run(engines: Engines, pipeline: Pipeline, seed: int = 1, **changes: Any) -> Made:
    """The pictures of a job, all of its rows after each other."""
    job = JOBS[pipeline].model_copy(update=changes)
    image = None if pipeline is Pipeline.TEXT_TO_IMAGE else PICTURE
    rows = engines(FAMILY[pipeline], pipeline).run(Task(job, seed, image).rows(), Unheard()).rows
    return [picture for made in rows if isinstance(made, list) for picture in made]


@pytest.mark.parametrize(("pipeline", "shape"), [("text-to-image", (64, 64, 3)), ("image-to-image", (48, 64, 3))])
def test_a_pipeline_makes_pictures_of_the_asked_size(engines: Engines, pipeline: str, shape: tuple[int, int, int]) -> None:
    (picture,) = run(engines, Pipeline(pipeline))

    assert picture.shape == shape
    assert picture.std() > 1


def test_a_still_becomes_frames(engines: Engines) -> None:
    frames = run(engines, Pipeline.IMAGE_TO_VIDEO)

    assert len(frames) == 8
    assert {frame.shape for frame in frames} == {(64, 64, 3)}


@pytest.mark.parametrize("pipeline", list(Pipeline))
def test_the_same_seed_gives_the_same_pixels(engines: Engines, pipeline: Pipeline) -> None:
    first, again, other = [run(engines, pipeline, seed)[0] for seed in (1, 1, 2)]

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_picture_of_a_job_is_that_of_its_own_seed(engines: Engines) -> None:
    both = run(engines, Pipeline.TEXT_TO_IMAGE, 5, num_images_per_prompt=2)
    second = run(engines, Pipeline.TEXT_TO_IMAGE, 6)

    assert len(both) == 2
    assert np.abs(both[1].astype(int) - second[0]).max() <= 2


def test_a_cancelled_job_stops_after_its_step_and_the_pipeline_is_usable(engines: Engines) -> None:
    steps = StoppedAfter(2)
    job = JOBS[Pipeline.TEXT_TO_IMAGE].model_copy(update={"num_inference_steps": 50})
    with pytest.raises(CancelledError):
        engines("sdxl", Pipeline.TEXT_TO_IMAGE).run([Row(job, 1)], steps)

    assert steps.made == 2
    assert run(engines, Pipeline.TEXT_TO_IMAGE)


def test_a_damaged_model_is_told_in_words_without_its_path(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "org" / "broken"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "Nothing"]}')
    engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, "org/broken", tmp_path, "cpu"))

    with pytest.raises(FatalEngineError, match="org/broken cannot be loaded") as failed:
        engine.load(no_stage)

    assert failed.value.reason is ExitReason.LOAD_FAILED
    assert str(tmp_path) not in str(failed.value)


@pytest.mark.parametrize("layout", ["", "org/model", "models--org--model/snapshots/abc"])
def test_weights_are_found_in_each_layout(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / layout
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text("{}")

    assert find_model(tmp_path, "org/model") == folder


def test_the_revision_that_main_names_is_taken(tmp_path: Path) -> None:
    cached = tmp_path / "models--org--model"
    for revision in ("old", "new"):
        (cached / "snapshots" / revision).mkdir(parents=True)
        (cached / "snapshots" / revision / "model_index.json").write_text("{}")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("new\n")

    assert find_model(tmp_path, "org/model").name == "new"


def test_a_model_id_cannot_lead_out_of_the_model_directory(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model_index.json").write_text("{}")
    inside = tmp_path / "models"
    inside.mkdir()

    with pytest.raises(FatalEngineError, match="missing"):
        find_model(inside, "../outside")


def test_rows_have_keys_before_the_model_is_loaded(tmp_path: Path) -> None:
    engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, "stabilityai/sdxl-turbo", tmp_path, "cpu"))
    job = JOBS[Pipeline.TEXT_TO_IMAGE]

    assert engine.key(Row(job, 1)) == engine.key(Row(job, 2))
    assert engine.key(Row(job, 1)) != engine.key(Row(job.model_copy(update={"width": 128}), 1))
