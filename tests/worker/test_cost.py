from typing import Any

import pytest

from stoker_contracts.jobs import ImageToImage, ImageToVideo, Job, TextToImage
from stoker_worker.domain.cost import FRAMES, row_cost

PROMPT: dict[str, Any] = {"prompt": "p"}


@pytest.mark.parametrize(
    ("job", "size", "cost"),
    [
        (TextToImage(**PROMPT, num_inference_steps=4), (1000, 500), 2.0),
        (TextToImage(**PROMPT, num_inference_steps=4, num_images_per_prompt=3), (1000, 500), 2.0),
        (TextToImage(**PROMPT, num_inference_steps=0), (1000, 1000), 50.0),
        (ImageToImage(**PROMPT, num_inference_steps=10, strength=0.5), (1000, 1000), 5.0),
        (ImageToVideo(num_inference_steps=2), (1000, 1000), 2.0 * FRAMES),
    ],
)
def test_a_row_costs_its_steps_times_megapixels_times_frames(job: Job, size: tuple[int, int], cost: float) -> None:
    assert row_cost(job, size) == pytest.approx(cost)
