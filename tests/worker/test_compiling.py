"""Compiling beside the jobs: they run as before until the compiled code is there, and it comes between them."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import Footprint
from stoker_worker.engine.speed.compile_cache import NoStore
from stoker_worker.engine.speed.compiling import Compiled, prepare, twin
from stoker_worker.engine.speed.speed import Speed
from stoker_worker.engine.start.pipeline import Loaded, Model
from tests.support.recorder import FakeRecorder
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

SECONDS = 60


class Backend:
    """A compiler that waits at a gate, and code that tells when it runs."""

    def __init__(self, *, fails: bool = False) -> None:
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.built = 0
        self.ran = 0
        self._fails = fails

    def __call__(self, module: Any, _examples: list[Any]) -> Callable[..., Any]:
        self.reached.set()
        assert self.gate.wait(SECONDS)
        if self._fails:
            message = "no code for this at /secret/path"
            raise RuntimeError(message)
        self.built += 1

        def run(*tensors: Any) -> Any:
            self.ran += 1
            return module(*tensors)

        return run


class Block(nn.Module):  # type: ignore[misc] # torch's types are not read
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, sample: Any) -> Any:
        return torch.tanh(self.layer(sample))


class Denoiser(nn.Module):  # type: ignore[misc] # as above
    """What diffusers' denoisers have: repeated blocks, and their own way to compile those."""

    _repeated_blocks: tuple[str, ...] = ("Block",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.eval()

    def forward(self, sample: Any, step: Any, *, return_dict: bool = True) -> Any:
        for block in self.blocks:
            sample = block(sample)
        return {"sample": sample * step} if return_dict else (sample * step,)

    def compile_repeated_blocks(self, **how: Any) -> None:
        for block in self.blocks:
            block.compile(**how)


class Whole(Denoiser):
    """A denoiser that names no blocks, as SD3's and Stable Video Diffusion's."""

    _repeated_blocks = ()


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def speed_of(denoiser: Denoiser, backend: Backend, recorder: FakeRecorder | None = None) -> Speed:
    loaded = Loaded(SimpleNamespace(unet=denoiser, components={"unet": denoiser}), torch, "cpu", frozenset(), Footprint())
    speed = Speed(loaded, frozenset({"compile"}), recorder, backend=backend)
    speed.apply()
    return speed


def job(denoiser: Denoiser, rows: int = 2, seed: int = 0, steps: int = 2) -> torch.Tensor:
    """Some steps, as a pipeline makes them."""
    with torch.inference_mode():
        sample = torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))
        for step in range(1, steps + 1):
            sample = denoiser(sample, torch.tensor(step), return_dict=False)[0]
    return sample


def wait_for_code(speed: Speed) -> None:
    assert speed.compiled_code_waits is not None
    assert speed.compiled_code_waits.wait(SECONDS)


def test_jobs_run_as_before_while_the_compiler_is_at_work_and_take_its_code_from_the_next_one_on() -> None:
    plain, denoiser, backend = Denoiser(), Denoiser(), Backend()
    speed = speed_of(denoiser, backend)
    for seed in range(3):
        speed.begin()
        assert torch.equal(job(denoiser, seed=seed), job(plain, seed=seed))
    assert backend.reached.wait(SECONDS)
    meanwhile = backend.built, backend.ran

    backend.gate.set()
    wait_for_code(speed)
    ran = backend.ran
    in_the_same_job = job(denoiser)
    assert backend.ran == ran, "nothing changes within a job"
    speed.begin()
    in_the_next = job(denoiser)

    assert meanwhile == (0, 0)
    assert backend.ran > ran
    assert torch.allclose(in_the_next, in_the_same_job)


def test_compiled_code_serves_further_jobs_without_the_compiler() -> None:
    denoiser, backend = Denoiser(), Backend()
    backend.gate.set()
    speed = speed_of(denoiser, backend)
    job(denoiser)
    wait_for_code(speed)
    speed.begin()
    built = backend.built
    for seed in range(3):
        speed.begin()
        job(denoiser, seed=seed, steps=5)

    assert backend.built == built


def test_each_size_is_compiled_on_its_own() -> None:
    denoiser, backend = Denoiser(), Backend()
    backend.gate.set()
    speed = speed_of(denoiser, backend)
    for rows in (2, 3):
        job(denoiser, rows)
        wait_for_code(speed)
        speed.begin()
        before = backend.ran
        job(denoiser, rows)
        assert backend.ran > before


@pytest.mark.parametrize("kind", [Denoiser, Whole])
def test_a_denoiser_without_repeated_blocks_is_compiled_as_a_whole(kind: type[Denoiser], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    backend = Backend()
    backend.gate.set()
    with torch.inference_mode():
        prepare(torch, kind(), backend)(torch.ones(2, 8), torch.tensor(1))

    assert backend.built == 1
    assert ("compiled as a whole" in caplog.text) == (kind is Whole)


def test_what_cannot_be_compiled_runs_as_it_is_and_is_told_without_paths(caplog: pytest.LogCaptureFixture) -> None:
    denoiser, backend = Denoiser(), Backend(fails=True)
    backend.gate.set()
    other = prepare(torch, twin(denoiser), backend)
    compiled = Compiled(torch, denoiser.forward, other, NoStore(), contextlib.nullcontext(), later)
    with torch.inference_mode():
        compiled(torch.ones(2, 8), torch.tensor(1))
    compiled.compile_next()

    assert not compiled.adopt()
    assert "cannot be compiled" in caplog.text
    assert "secret" not in caplog.text


class Place:
    """Where weights are parked."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.parked = False

    def park(self) -> bool:
        self.parked = self.room > 0
        return self.parked

    def unpark(self) -> None:
        self.parked = False


def test_weights_are_not_parked_while_they_are_compiled_nor_compiled_while_they_are_parked() -> None:
    denoiser, backend, place = Denoiser(), Backend(), Place()
    engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, "m", Path("/nowhere")))
    speed = engine._speed = speed_of(denoiser, backend)
    engine._loaded, engine._place = speed._loaded, place  # type: ignore[assignment]
    job(denoiser)
    assert backend.reached.wait(SECONDS)
    assert not engine.park()
    assert not place.parked
    backend.gate.set()
    wait_for_code(speed)

    eventually(engine.park)
    assert place.parked
    assert speed._exclusive.locked()
    engine.unpark()
    assert not speed._exclusive.locked()
    place.room = 0
    assert not engine.park()
    assert not speed._exclusive.locked()


def later(_body: Callable[[], None]) -> None:
    """The test compiles when it wants to."""


def test_a_twin_has_the_same_weights_and_its_own_code() -> None:
    denoiser = Denoiser()
    other = twin(denoiser)

    assert all(one is another for one, another in zip(denoiser.parameters(), other.parameters(), strict=True))
    assert other.blocks[0] is not denoiser.blocks[0]


def test_graphs_of_the_old_code_are_dropped_when_compiled_code_is_taken() -> None:
    denoiser, backend, device = Denoiser(), Backend(), FakeRecorder(watched=False)
    speed = speed_of(denoiser, backend, device)
    job(denoiser, steps=1)
    assert backend.reached.wait(SECONDS)
    job(denoiser, steps=4)
    while_compiling = device.recorded
    backend.gate.set()
    wait_for_code(speed)
    job(denoiser, steps=4)
    of_the_old_code = speed.graphs
    speed.begin()
    held = speed.graphs
    made = job(denoiser, steps=4)

    assert (while_compiling, of_the_old_code, held, speed.graphs) == (0, 1, 0, 1)
    assert torch.equal(made, job(Denoiser(), steps=4))
