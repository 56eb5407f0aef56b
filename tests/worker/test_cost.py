from typing import Any

import pytest

from stoker_contracts.jobs import REQUESTS, ImageToImage, ImageToVideo, Job, TextToImage
from stoker_contracts.pipelines import FACTS, Pipeline
from stoker_orchestrator.domain.cost import declared_cost
from stoker_worker.domain.cost import row_cost

PROMPT: dict[str, Any] = {"prompt": "p"}


@pytest.mark.parametrize(
    ("job", "size", "cost"),
    [
        (TextToImage(**PROMPT, num_inference_steps=4), (1000, 500), 2.0),
        (TextToImage(**PROMPT, num_inference_steps=4, num_images_per_prompt=3), (1000, 500), 2.0),
        (TextToImage(**PROMPT, num_inference_steps=0), (1000, 1000), 50.0),
        (ImageToImage(**PROMPT, num_inference_steps=10, strength=0.5), (1000, 1000), 5.0),
        (ImageToVideo(num_inference_steps=2), (1000, 1000), 2.0 * FACTS[Pipeline.IMAGE_TO_VIDEO].frames),
    ],
)
def test_a_row_costs_its_steps_times_megapixels_times_frames(job: Job, size: tuple[int, int], cost: float) -> None:
    assert row_cost(job, size) == pytest.approx(cost)


@pytest.mark.parametrize("fields", [{}, {"num_inference_steps": 0}, {"num_inference_steps": 3, "strength": 0.5}])
@pytest.mark.parametrize("pipeline", list(Pipeline))
def test_a_worker_and_an_orchestrator_count_alike(pipeline: Pipeline, fields: dict[str, float]) -> None:
    job = REQUESTS[pipeline].model_validate(PROMPT | fields)

    assert row_cost(job, (1024, 576)) == pytest.approx(declared_cost(pipeline, fields))
