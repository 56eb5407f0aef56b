"""What a row costs: the units that its request declares, as the orchestrator counts them."""

from stoker_contracts.jobs import ImageToVideo, Job

FRAMES = 25
"""Frames of a video, as Stable Video Diffusion XT makes them."""
_MEGAPIXEL = 1_000_000


def row_cost(job: Job, size: tuple[int, int]) -> float:
    """Steps × megapixels × frames of one row of `job`, whose result is `size` (width, height). More than 0.

    Where the model's own number of steps is asked for, the request's default stands for it.
    """
    steps = getattr(job, "num_inference_steps", 0) or type(job).model_fields["num_inference_steps"].default
    frames = FRAMES if isinstance(job, ImageToVideo) else 1
    width, height = size
    return float(steps * getattr(job, "strength", 1.0) * width * height / _MEGAPIXEL * frames)
