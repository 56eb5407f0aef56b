"""What a pipeline is called with."""

from dataclasses import replace

import pytest
from PIL import Image

from stoker_contracts.jobs import ImageToImage, ImageToVideo, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine.families import family_of
from stoker_worker.engine.protocol import Row
from stoker_worker.engine.rows.arguments import arguments, batch_key

T2I, I2I, I2V = Pipeline
PICTURE = Image.new("RGB", (64, 48))
SDXL = family_of("stabilityai/stable-diffusion-xl-base-1.0", T2I)


def test_each_row_brings_its_own_words_and_the_rest_is_shared() -> None:
    rows = [Row(TextToImage(prompt=words, negative_prompt=words * 2, width=64, height=64), 1) for words in "ab"]
    call = arguments(rows, SDXL)

    assert (call["prompt"], call["negative_prompt"]) == (["a", "b"], ["aa", "bb"])
    assert (call["width"], call["num_inference_steps"], call["guidance_scale"]) == (64, 50, 7.5)
    assert not call.keys() & {"seed", "model_id", "safety_check", "num_images_per_prompt"}


def test_an_image_made_of_an_image_has_its_size() -> None:
    call = arguments([Row(ImageToImage(prompt="p"), 1, PICTURE)], family_of("black-forest-labs/FLUX.1-dev", I2I))

    assert (call["width"], call["height"], call["image"]) == (64, 48, [PICTURE])


def test_a_family_that_takes_one_picture_gets_no_lists_and_its_own_names() -> None:
    job = ImageToVideo(fps=12)
    call = arguments([Row(job, 1, PICTURE)], family_of("Lightricks/LTX-Video", I2V))

    assert (call["image"], call["prompt"], call["frame_rate"], call["num_frames"]) == (PICTURE, "", 12, 97)
    assert "fps" not in call


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.3, 0.19999999999999998, 0.01])
def test_without_asked_steps_there_are_the_models_own_and_at_least_one_is_made(strength: float) -> None:
    turbo = family_of("stabilityai/sdxl-turbo", I2I)
    job = ImageToImage(prompt="p", num_inference_steps=0, strength=strength)
    steps = arguments([Row(job, 1, PICTURE)], turbo)["num_inference_steps"]

    assert int(steps * strength) >= 1
    assert steps <= 1 / strength + 1


@pytest.mark.parametrize("asked", [0, 3])
def test_asked_steps_are_made_and_none_means_the_models_own(asked: int) -> None:
    job = TextToImage(prompt="p", num_inference_steps=asked)

    assert arguments([Row(job, 1)], SDXL)["num_inference_steps"] == (asked or SDXL.default_steps)


def test_distilled_models_are_called_without_guidance_and_so_share_a_key() -> None:
    turbo = family_of("stabilityai/sdxl-turbo", T2I)
    rows = [Row(TextToImage(prompt="p", guidance_scale=guidance), 1) for guidance in (3, 7)]

    assert arguments(rows, turbo)["guidance_scale"] == 0.0
    assert batch_key(rows[0], turbo) == batch_key(rows[1], turbo)
    assert batch_key(rows[0], SDXL) != batch_key(rows[1], SDXL)


def test_rows_that_cannot_run_together_have_keys_of_their_own() -> None:
    row = Row(TextToImage(prompt="p"), 1)
    other = family_of("someone/anything", T2I)

    assert batch_key(row, other) == batch_key(row, other)
    assert batch_key(row, other) != batch_key(replace(row), other)
