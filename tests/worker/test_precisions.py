"""A VAE in two precisions that are made once, and in the one that it was loaded in whatever has failed before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from stoker_contracts.jobs import ImageToVideo, TextToImage
from stoker_worker.engine import tiny
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import Made, OutOfMemoryError, Row, Unheard
from stoker_worker.engine.speed.precisions import Formats, Precisions
from stoker_worker.engine.speed.speed import Speed
from stoker_worker.engine.start.pipeline import Model
from tests.support.recorder import FakeRecorder

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

JOBS = {
    "sdxl": Row(TextToImage(prompt="a circle", width=64, height=32, num_inference_steps=1), 1),
    "svd": Row(ImageToVideo(width=64, height=32, num_inference_steps=1), 1, Image.new("RGB", (64, 32), "red")),
}


class Half(nn.Module):  # type: ignore[misc] # torch's types are not read
    """A VAE as pipelines see it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))

    config = type("Config", (), {"force_upcast": True})()

    @property
    def dtype(self) -> torch.dtype:
        return self.layers[0].weight.dtype


def test_a_vae_that_is_turned_to_float32_and_back_keeps_its_numbers_and_places() -> None:
    stock, ours = Half().half(), Half().half()
    turned = Precisions(torch, ours)
    places: dict[Any, set[int]] = {torch.float16: set(), torch.float32: set()}
    for _ in range(3):
        for dtype in (torch.float32, torch.float16):
            ours.to(dtype=dtype)
            stock.to(dtype=dtype)
            places[dtype].add(next(ours.parameters()).data_ptr())
            assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), stock.parameters(), strict=True))

    assert {dtype: len(seen) for dtype, seen in places.items()} == {torch.float16: 1, torch.float32: 1}
    turned.forget()
    ours.to("cpu", torch.float32)
    assert ours.dtype == torch.float32


def test_only_a_half_vae_that_overflows_is_turned() -> None:
    calm = Half().half()
    calm.config = type("Config", (), {"force_upcast": False})()

    assert [Precisions.turned_in_each_call(torch, vae) for vae in (Half().half(), Half(), calm)] == [True, False, False]


def test_a_conversion_for_which_memory_ends_half_way_leaves_nothing_behind() -> None:
    vae = Half().half()
    formats, turned = Formats(vae), Precisions(torch, vae)
    moved = turned._moved

    def full(**_named: Any) -> None:
        vae.layers[0].float()
        message = "tried to allocate"
        raise torch.OutOfMemoryError(message)

    turned._moved = full
    with pytest.raises(torch.OutOfMemoryError):
        vae.to(dtype=torch.float32)
    turned._moved = moved
    formats.restore()
    for dtype in (torch.float16, torch.float32, torch.float16, torch.float32):
        vae.to(dtype=dtype)

        assert {each.dtype for each in vae.parameters()} == {dtype}


def half_engine(models: Path, family: str, *switches: str) -> DiffusersEngine:
    """A family's tiny model in float16, as on a card, and on a device that records."""
    pipeline = tiny.FAMILIES[family][0]
    engine = DiffusersEngine(Model(pipeline, tiny.model_id(pipeline, family), models, "cpu"))
    engine.load(lambda _name, _seconds: None)
    engine._ready.pipe.to(dtype=torch.float16)
    if family == "svd":
        engine._ready.pipe.unet.register_to_config(num_frames=2)  # a CPU takes its time for float16
    engine._speed = Speed(engine._ready, frozenset(switches), FakeRecorder())
    engine._fast.apply()
    return engine


def made_by(engine: DiffusersEngine, family: str) -> Made:
    (made,) = engine.run([JOBS[family]], Unheard()).rows
    assert isinstance(made, list), made
    return made


@pytest.mark.parametrize(
    ("family", "call", "switches"),
    [("sdxl", "decode", ()), ("sdxl", "decode", ("no-graphs",)), ("svd", "encode", ("no-graphs",))],
)
def test_a_vae_that_runs_out_of_memory_makes_the_next_picture_as_ever(
    models: Path, monkeypatch: pytest.MonkeyPatch, family: str, call: str, switches: tuple[str, ...]
) -> None:
    engine = half_engine(models, family, *switches)
    times = 1 if switches else 2  # a call is recorded when it comes the second time
    wanted = [made_by(engine, family) for _ in range(times)]

    def full(*_given: Any, **_named: Any) -> None:
        message = "tried to allocate"
        raise torch.OutOfMemoryError(message)

    with monkeypatch.context() as while_full:
        while_full.setattr(engine._ready.pipe.vae, call, full)
        with pytest.raises(OutOfMemoryError):
            made_by(engine, family)

    assert np.array_equal([made_by(engine, family) for _ in range(times)], wanted)
    assert engine._ready.pipe.vae.dtype == torch.float16
    assert bool(engine._fast.graphs) is not bool(switches)
