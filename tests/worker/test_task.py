"""What a job asks the model for."""

from stoker_contracts.jobs import MAX_SEED, TextToImage
from stoker_worker.engine.protocol import Task


def test_the_pictures_of_a_job_count_up_from_its_seed_and_each_may_be_asked_for_again() -> None:
    rows = Task(TextToImage(prompt="p", num_images_per_prompt=3), MAX_SEED - 1).rows()

    assert [row.seed for row in rows] == [MAX_SEED - 1, MAX_SEED, 0]
    assert [TextToImage(prompt="p", seed=row.seed).seed for row in rows] == [row.seed for row in rows]
