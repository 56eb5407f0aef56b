"""What only a card can prove: graphs, memory, parking, compiled code and lost contexts. Skipped where there is none."""

import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import Made, OutOfMemoryError, Row, Unheard
from stoker_worker.engine.start.folders import family_in, find_model
from stoker_worker.engine.start.memory import tensors
from stoker_worker.engine.start.pipeline import Model, load_pipeline
from tests.worker.test_graphs_of_families import JOBS, RECORDED
from tests.worker.test_networks import assert_same

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

T2I, I2I, I2V = Pipeline
EVERY = [(family, pipeline) for family, pipelines in tiny.FAMILIES.items() for pipeline in pipelines]
MIB = 2**20
LOST = """
import sys
from pathlib import Path
from stoker_contracts.jobs import TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.protocol import FatalEngineError, Row, Unheard
from stoker_worker.engine.start.memory import tensors
from stoker_worker.engine.start.pipeline import Model

engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, "stoker/tiny-sd15-text-to-image", Path(sys.argv[1]), "cuda"))
engine.load(lambda _name, _seconds: None)
import torch
encoder = engine._ready.pipe.text_encoder
forward = encoder.forward


def reads_past_the_end(*given, **named):
    torch.zeros(1, device="cuda")[torch.full((1,), 5, device="cuda")]
    return forward(*given, **named)


encoder.forward = reads_past_the_end
try:
    print(engine.run([Row(TextToImage(prompt="a circle", width=64, height=64, num_inference_steps=1), 1)], Unheard()).rows)
except FatalEngineError as error:
    print("lost:", error)
"""


@pytest.fixture(autouse=True)
def _given_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No warm-up, whose graphs would be counted with the test's; and the card is empty again."""
    monkeypatch.setattr("stoker_worker.engine.diffusers.hot_shapes", lambda *_: ())
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


def loaded(models: Path, family: str, pipeline: Pipeline, *switches: str, **fields: Any) -> DiffusersEngine:
    """A family's tiny model on the card."""
    model_id = tiny.model_id(tiny.FAMILIES[family][0], family)
    engine = DiffusersEngine(Model(pipeline, model_id, models, "cuda", frozenset(switches), **fields))
    engine.load(lambda _name, _seconds: None)
    if engine._family.frames is not None:
        engine._family = replace(engine._family, frames=engine._family.frame_step + 1)
    return engine


def rows(pipeline: Pipeline, *seeds: int, **changes: Any) -> list[Row]:
    """Rows whose words and images are their own."""
    made = []
    for seed in seeds:
        noise = np.random.default_rng(seed).integers(0, 255, (4, 8, 3), dtype=np.uint8)
        words = {} if pipeline is I2V else {"prompt": f"circle {seed}"}
        image = None if pipeline is T2I else Image.fromarray(noise).resize((64, 32))
        made.append(Row(JOBS[pipeline].model_copy(update=words | changes), seed, image))
    return made


def run(engine: DiffusersEngine, batch: list[Row]) -> list[Made]:
    """What became of rows that must all succeed."""
    made = engine.run(batch, Unheard()).rows
    assert all(isinstance(each, list) for each in made), made
    return [each for each in made if isinstance(each, list)]


def apart(one: list[Made], other: list[Made]) -> int:
    """The largest difference of two results, in grey levels."""
    return int(np.abs(np.stack([*one]).astype(int) - np.stack([*other]).astype(int)).max())


@pytest.mark.parametrize(("family", "pipeline"), EVERY)
def test_weights_on_the_card_are_those_that_diffusers_brings_there(models: Path, family: str, pipeline: Pipeline) -> None:
    model = Model(pipeline, tiny.model_id(tiny.FAMILIES[family][0], family), models, "cuda")
    known = family_in(models, model.model_id, pipeline)
    chosen = getattr(torch, known.dtype)
    dtype = {"default": chosen} | dict.fromkeys(known.float32, torch.float32)
    folder = find_model(models, model.model_id)

    ours = load_pipeline(model, lambda *_: None).pipe
    theirs = type(ours).from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype).to("cuda")

    for name, network in theirs.components.items():
        if isinstance(network, torch.nn.Module):
            assert_same(torch, getattr(ours, name), network)


@pytest.mark.parametrize(("family", "pipeline"), EVERY)
def test_graphs_change_no_bit_of_a_familys_pictures(models: Path, family: str, pipeline: Pipeline) -> None:
    plain = loaded(models, family, pipeline, "no-graphs")
    ours = loaded(models, family, pipeline)
    for seed in range(4):
        batch = rows(pipeline, *([seed] if family in {"ltx", "wan"} else [seed, seed + 1]))
        assert apart(run(ours, batch), run(plain, batch)) == 0

    assert ours._fast.graphs >= RECORDED[family]


def test_what_cannot_be_recorded_runs_as_it_is_and_spoils_nothing(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stoker_worker")
    plain, ours = (loaded(models, "sdxl", T2I, *switches) for switches in (("no-graphs",), ()))
    module = ours._ready.pipe.text_encoder
    forward = module.forward.__wrapped__

    def looking(*positional: Any, **named: Any) -> Any:
        result = forward(*positional, **named)
        assert torch.isfinite(result[0]).all().item()
        return result

    graphs = ours._fast._graphs
    assert graphs is not None
    module.forward = graphs.graphed("text_encoder", module, looking)
    held = []
    for seed in range(6):
        assert apart(run(ours, rows(T2I, seed)), run(plain, rows(T2I, seed))) == 0
        held.append(torch.cuda.memory_allocated())

    assert ours._fast.graphs >= 3, caplog.messages
    assert held[-1] == held[-3]


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("switch", ["channels-last", "cudnn-attention", "fused-norms"])
def test_a_lossless_switch_changes_a_picture_by_next_to_nothing(models: Path, family: str, switch: str) -> None:
    batch = rows(T2I, 1, 2)

    assert apart(run(loaded(models, family, T2I, switch), batch), run(loaded(models, family, T2I), batch)) <= 8


def test_a_job_that_is_too_large_leaves_the_others_as_they_were(models: Path) -> None:
    torch.zeros(1, device="cuda")
    budget = torch.cuda.memory_reserved() + 600 * MIB
    engine = loaded(models, "sdxl", T2I, memory_budget=budget)
    before = run(engine, rows(T2I, 1))

    with pytest.raises(OutOfMemoryError):
        engine.run(rows(T2I, *range(16), width=2048, height=2048), Unheard())
    held = torch.cuda.memory_allocated()

    assert apart(run(engine, rows(T2I, 1)), before) == 0
    assert held < budget


@pytest.mark.parametrize(("family", "call"), [("sdxl", "decode"), ("svd", "encode")])
@pytest.mark.parametrize("switches", [(), ("no-graphs",)], ids=["graphs", "no graphs"])
def test_a_vae_that_runs_out_of_memory_makes_the_next_picture_as_ever(
    models: Path, monkeypatch: pytest.MonkeyPatch, family: str, call: str, switches: tuple[str, ...]
) -> None:
    pipeline = tiny.FAMILIES[family][0]
    engine = loaded(models, family, pipeline, *switches)
    for _ in range(3):
        before = run(engine, rows(pipeline, 1))

    with monkeypatch.context() as while_full:
        while_full.setattr(engine._ready.pipe.vae, call, lambda *_, **__: torch.empty(2**50, device="cuda"))
        with pytest.raises(OutOfMemoryError):
            engine.run(rows(pipeline, 1), Unheard())

    for _ in range(3):
        assert apart(run(engine, rows(pipeline, 1)), before) == 0
    assert {parameter.dtype for parameter in engine._ready.pipe.vae.parameters()} == {torch.float16}


def test_a_parked_model_leaves_the_card_and_comes_back_the_same(models: Path) -> None:
    engine = loaded(models, "sdxl", T2I)
    for _ in range(3):
        before = run(engine, rows(T2I, 1))
    held = torch.cuda.memory_allocated()
    weights = sum(tensor.nbytes for tensor in tensors(engine._ready.pipe, torch))

    assert engine.park()
    assert torch.cuda.memory_allocated() <= held - weights
    engine.unpark()
    for _ in range(4):
        assert apart(run(engine, rows(T2I, 1)), before) == 0
    assert engine._fast.graphs >= 4


def test_what_a_model_holds_is_what_its_headers_said(models: Path) -> None:
    from stoker_worker.engine.start.importing import import_libraries  # noqa: PLC0415 - torch's libraries only with a card
    from stoker_worker.engine.start.memory import precision  # noqa: PLC0415 - as above
    from stoker_worker.engine.start.weights import find_weights, needed_bytes  # noqa: PLC0415 - as above

    for family, pipelines in tiny.FAMILIES.items():
        gc.collect()
        torch.cuda.empty_cache()
        idle = torch.cuda.memory_allocated()
        engine = loaded(models, family, pipelines[0], "no-graphs")
        footprint = engine._ready.footprint
        libraries = import_libraries(type(engine._ready.pipe).__name__, lambda *_: None)
        found = find_weights(next((models / f"models--stoker--tiny-{family}-{pipelines[0].value}").glob("snapshots/*")), half=True)
        dtype = getattr(torch, engine._family.dtype)
        wanted = {"default": dtype} | dict.fromkeys(engine._family.float32, torch.float32)
        needed = sum(needed_bytes(found, lambda component: precision(component, libraries, wanted)).values())  # noqa: B023
        held = footprint.weights - idle

        assert needed <= held, family
        assert held - needed < 0.6 * needed, "small tensors are rounded up to 512 bytes"
        del engine


def test_compiled_code_is_taken_beside_the_jobs_and_recorded_as_well(models: Path) -> None:
    plain, ours = (loaded(models, "flux", T2I, *switches) for switches in ((), ("compile",)))
    wanted = run(plain, rows(T2I, 1))
    run(ours, rows(T2I, 1))
    waits = ours._fast.compiled_code_waits
    assert isinstance(waits, threading.Event)

    while not waits.wait(0.05):
        assert apart(run(ours, rows(T2I, 1)), wanted) <= 8
    for _ in range(3):
        assert apart(run(ours, rows(T2I, 1)), wanted) <= 8
    assert ours._fast.graphs >= 4


def test_a_lost_card_ends_the_engine_and_no_job_alone(models: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOST, str(models)], capture_output=True, text=True, timeout=100, check=False)

    assert "lost: the GPU reported an error that only a restart cures" in done.stdout, done.stderr[-2000:]
