"""Steps that are skipped: a job's picture depends on no other job, however that one ended."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stoker_contracts.jobs import TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import CancelledError, FatalEngineError, Pixels, Row
from tests.worker.conftest import Engines

if TYPE_CHECKING:
    from stoker_worker.engine.diffusers import DiffusersEngine

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


class Callers:
    """Hang up after so many steps."""

    def __init__(self, hang_up: int = 0) -> None:
        self.steps = 0
        self._hang_up = hang_up

    def stepped(self) -> frozenset[int]:
        self.steps += 1
        if self.steps == self._hang_up:
            raise CancelledError
        return frozenset()


def caching(engine: "DiffusersEngine") -> "DiffusersEngine":
    """The same model once more, with the switch on."""
    from stoker_worker.engine.diffusers import DiffusersEngine  # noqa: PLC0415 - torch only where it is tested

    return DiffusersEngine(replace(engine._model, switches=frozenset({"first-block-cache"})))


def picture(engine: "DiffusersEngine", seed: int, side: int = 32, callers: Callers | None = None) -> Pixels:
    job = TextToImage(prompt="a circle", width=side, height=side, num_inference_steps=6, guidance_scale=3)
    (made,) = engine.run([Row(job, seed)], callers or Callers()).rows
    assert isinstance(made, list)
    return made[0]


def test_a_picture_is_the_same_after_other_jobs_and_cancelled_ones(engines: Engines) -> None:
    engine = caching(engines("flux", Pipeline.TEXT_TO_IMAGE))
    engine.load(lambda _name, _seconds: None)
    first = picture(engine, 1)
    picture(engine, 2, side=64)
    after_another = picture(engine, 1)
    with pytest.raises(CancelledError):
        picture(engine, 3, side=64, callers=Callers(hang_up=2))

    assert np.array_equal(first, after_another)
    assert np.array_equal(first, picture(engine, 1))


def test_a_model_whose_steps_cannot_be_cached_is_refused_in_words(engines: Engines) -> None:
    engine = caching(engines("sd3", Pipeline.TEXT_TO_IMAGE))

    with pytest.raises(FatalEngineError, match="first-block-cache needs a denoiser that can cache steps") as refused:
        engine.load(lambda _name, _seconds: None)

    assert refused.value.reason is ExitReason.SETTINGS_INVALID


def test_a_model_with_too_few_blocks_is_refused_in_words(engines: Engines) -> None:
    engine = caching(engines("ltx", Pipeline.IMAGE_TO_VIDEO))

    with pytest.raises(FatalEngineError, match=r"first-block-cache does not work with this model \(IndexError\)"):
        engine.load(lambda _name, _seconds: None)
