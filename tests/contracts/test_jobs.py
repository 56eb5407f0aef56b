from typing import Any

import pytest
from pydantic import ValidationError

from stoker_contracts.jobs import REQUESTS, ImageToImage, ImageToVideo, Job, JobLimits, TextToImage
from stoker_contracts.pipelines import Pipeline

LIMITS = JobLimits(max_steps=50, max_pixels=1024 * 1024, max_images=4, side_multiple=8)


def test_defaults_are_those_of_livepeers_runner() -> None:
    text, image, video = TextToImage(prompt="p"), ImageToImage(prompt="p"), ImageToVideo()

    assert (text.height, text.width, text.guidance_scale, text.num_inference_steps) == (576, 1024, 7.5, 50)
    assert (image.strength, image.image_guidance_scale, image.num_inference_steps) == (0.8, 1.5, 100)
    assert (video.fps, video.motion_bucket_id, video.noise_aug_strength, video.num_inference_steps) == (6, 127, 0.02, 25)


def test_every_pipeline_has_a_request() -> None:
    assert set(REQUESTS) == set(Pipeline)


def test_numeric_strings_are_numbers_and_unknown_fields_are_ignored() -> None:
    job = TextToImage.model_validate({"prompt": "p", "width": "512", "guidance_scale": "0", "style": "x"})

    assert (job.width, job.guidance_scale) == (512, 0)


@pytest.mark.parametrize(
    ("request_type", "field", "value"),
    [
        (TextToImage, "prompt", None),
        (TextToImage, "prompt", "p" * 8193),
        (TextToImage, "prompt", "ü" * 4097),
        (TextToImage, "negative_prompt", 5),
        (TextToImage, "width", 0),
        (TextToImage, "height", 4097),
        (TextToImage, "width", None),
        (TextToImage, "num_inference_steps", -1),
        (TextToImage, "num_inference_steps", 501),
        (TextToImage, "num_images_per_prompt", 0),
        (TextToImage, "num_images_per_prompt", 17),
        (TextToImage, "guidance_scale", "nan"),
        (TextToImage, "guidance_scale", 51),
        (TextToImage, "seed", None),
        (TextToImage, "seed", -1),
        (TextToImage, "seed", 2**32),
        (TextToImage, "safety_check", "perhaps"),
        (ImageToImage, "strength", 0),
        (ImageToImage, "strength", 1.1),
        (ImageToVideo, "fps", 0),
        (ImageToVideo, "motion_bucket_id", 256),
        (ImageToVideo, "noise_aug_strength", "inf"),
        (ImageToVideo, "output_format", "gif"),
    ],
)
def test_a_field_out_of_its_range_is_refused_by_name(request_type: type[Job], field: str, value: object) -> None:
    body: dict[str, Any] = {"prompt": "p"} | {field: value}

    with pytest.raises(ValidationError) as refused:
        request_type.model_validate(body)

    assert refused.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    ("job", "size", "words"),
    [
        (TextToImage(prompt="p", num_inference_steps=51), None, "at most 50"),
        (TextToImage(prompt="p", width=100), None, "divisible by 8"),
        (TextToImage(prompt="p", num_images_per_prompt=5), None, "at most 4"),
        (TextToImage(prompt="p", width=1024, height=1024, num_images_per_prompt=2), None, "at most 1048576"),
        (ImageToImage(prompt="p", strength=0.1, num_inference_steps=5), (512, 512), "at least 1"),
        (ImageToImage(prompt="p", strength=0.001, num_inference_steps=0), (512, 512), "strength is 0.001; with the 50 steps"),
        (ImageToImage(prompt="p", num_inference_steps=2), (510, 512), "divisible by 8"),
        (ImageToVideo(width=2048, height=1024), None, "at most 1048576"),
    ],
)
def test_a_job_past_the_models_limits_is_refused_with_the_limit(job: Job, size: tuple[int, int] | None, words: str) -> None:
    refusal = LIMITS.refusal(job, size)

    assert refusal is not None
    assert words in refusal


@pytest.mark.parametrize(
    ("job", "size"),
    [
        (TextToImage(prompt="p"), None),
        (TextToImage(prompt="p", num_inference_steps=0), None),
        (ImageToImage(prompt="p", num_inference_steps=50), (64, 64)),
        (ImageToVideo(), None),
    ],
)
def test_a_job_within_the_limits_is_taken(job: Job, size: tuple[int, int] | None) -> None:
    assert LIMITS.refusal(job, size) is None


def test_an_image_job_needs_its_images_size() -> None:
    with pytest.raises(TypeError, match="comes from its image"):
        LIMITS.refusal(ImageToImage(prompt="p", num_inference_steps=5))
