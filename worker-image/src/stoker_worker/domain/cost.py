"""What a row costs: the units that its request declares, as the orchestrator counts them."""

from stoker_contracts.jobs import Job
from stoker_contracts.pipelines import FACTS

_MEGAPIXEL = 1_000_000


def row_cost(job: Job, size: tuple[int, int]) -> float:
    """Steps × megapixels × frames of one row of `job`, whose result is `size` (width, height). More than 0.

    Where the model's own number of steps is asked for, the request's default stands for it.
    """
    facts = FACTS[job.pipeline]
    width, height = size
    return (job.num_inference_steps or facts.default_steps) * job.share * width * height / _MEGAPIXEL * facts.frames
