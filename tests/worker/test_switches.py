"""Switches: what each may do to a picture is told, and what cannot be had is refused in words."""

import gc
import logging
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.resources.model_deployment import ModelDeploymentSpec
from stoker_contracts.worker import ExitReason
from stoker_worker.engine.diffusers import DiffusersEngine
from stoker_worker.engine.faults import translated
from stoker_worker.engine.protocol import (
    CancelledError,
    EngineError,
    FatalEngineError,
    Footprint,
    OutOfMemoryError,
    RefusedError,
)
from stoker_worker.engine.speed.speed import Speed
from stoker_worker.engine.speed.switches import SWITCHES, Effect, Place, check, not_exact, parse_switches
from stoker_worker.engine.start.pipeline import Loaded, Model
from tests.support.recorder import FakeRecorder

pytestmark = pytest.mark.torch

HOPPER = Place((9, 0), has_triton=True, caches_steps=True)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), ()),
        (("no-graphs",), ()),
        (("no-graphs", "compile", "bfloat16"), ("bfloat16", "compile")),
        (("first-block-cache", "channels-last", "cudnn-attention"), ("channels-last", "cudnn-attention", "first-block-cache")),
    ],
)
def test_an_answer_names_every_switch_that_is_not_exact(names: tuple[str, ...], told: tuple[str, ...]) -> None:
    engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, "m", Path("/nowhere"), switches=frozenset(names)))

    assert engine.lossy == told == not_exact(names)


def test_a_resource_can_ask_for_each_switch() -> None:
    schema = ModelDeploymentSpec.model_json_schema()["properties"]["optimization"]

    assert all(f"'{name}'" in str(schema) for name in SWITCHES)


def test_each_switch_has_the_class_that_the_documentation_tells() -> None:
    table = (Path(__file__).parents[2] / "docs/concepts/worker-speed.md").read_text()

    assert dict(re.findall(r"^\| `([a-z0-9-]+)` \| (exact|lossless|lossy) \|", table, re.MULTILINE)) == SWITCHES
    assert {name for name, effect in SWITCHES.items() if effect is Effect.LOSSY} == {"bfloat16", "first-block-cache"}


def test_switches_are_read_from_a_list() -> None:
    assert parse_switches("compile, bfloat16 ,") == {"compile", "bfloat16"}
    assert parse_switches("") == frozenset()


def test_what_is_no_switch_is_named_beside_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"^'turbo', 'warp': no such switch; known: bfloat16, .*, no-graphs$"):
        parse_switches("warp, compile,turbo")


@pytest.mark.parametrize(
    ("names", "place", "words"),
    [
        ({"cudnn-attention"}, Place(None), "there is no card"),
        ({"cudnn-attention"}, Place((8, 9)), "this card has 8.9"),
        ({"first-block-cache"}, Place((9, 0)), "this model's cannot"),
        ({"first-block-cache", "compile"}, HOPPER, "choose one of"),
        ({"compile"}, Place((9, 0), has_denoiser=False), "needs a denoiser that is known here, and this model has none"),
        ({"fused-norms"}, Place(None, has_triton=True), "a card, and there is none"),
        ({"fused-norms"}, Place((8, 0)), "Triton, which is not installed"),
        ({"fused-norms", "compile"}, HOPPER, "blocks are called: choose one of fused-norms and compile"),
        ({"first-block-cache", "cudnn-attention"}, Place((8, 0)), "cudnn-attention needs .*; first-block-cache needs"),
    ],
)
def test_a_switch_that_cannot_be_had_is_refused_at_start(names: set[str], place: Place, words: str) -> None:
    with pytest.raises(FatalEngineError, match=f"OPTIMIZATION: .*{words}") as refused:
        check(frozenset(names), place)

    assert refused.value.reason is ExitReason.SETTINGS_INVALID


@pytest.mark.parametrize("names", [{"cudnn-attention", "fused-norms"}, {"first-block-cache"}, {"compile", "bfloat16"}, set()])
def test_a_switch_that_can_be_had_is_not_refused(names: set[str]) -> None:
    check(frozenset(names), HOPPER)


class Transformer(nn.Module):  # type: ignore[misc] # torch's types are not read
    """A denoiser that can cache steps."""

    cached: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3)
        self.over_time = nn.Conv3d(4, 4, 3)

    def enable_cache(self, how: Any) -> None:
        self.cached = how


def pipeline(denoiser: Any) -> Loaded:
    return Loaded(
        SimpleNamespace(transformer=denoiser, components={"transformer": denoiser}), torch, "cpu", frozenset(), Footprint()
    )


def test_the_first_block_cache_is_put_in_force_where_the_denoiser_has_it() -> None:
    transformer = Transformer()
    Speed(pipeline(transformer), frozenset({"first-block-cache"}), None).apply()

    assert transformer.cached.threshold == 0.08
    with pytest.raises(FatalEngineError, match="first-block-cache"):
        Speed(pipeline(nn.Linear(1, 1)), frozenset({"first-block-cache"}), None).apply()


def test_a_pipeline_without_a_denoiser_that_is_known_runs_without_what_needs_one() -> None:
    part = nn.Linear(1, 1)
    loaded = Loaded(SimpleNamespace(prior=part, components={"prior": part}), torch, "cpu", frozenset(), Footprint())
    speed = Speed(loaded, frozenset({"channels-last"}), FakeRecorder())
    speed.apply()
    speed.begin()

    for name in ("compile", "first-block-cache"):
        with pytest.raises(FatalEngineError, match=f"OPTIMIZATION: {name} needs a denoiser"):
            Speed(loaded, frozenset({name}), None).apply()


def test_channels_last_lays_the_weights_out_by_pixel_and_changes_none() -> None:
    transformer = Transformer()
    before = transformer.layer.weight.clone()
    Speed(pipeline(transformer), frozenset({"channels-last"}), None).apply()

    assert transformer.layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(transformer.layer.weight, before)


def accelerator_error() -> Exception:
    """As torch raises it for a CUDA error; its constructor is the binding's alone."""
    return torch.AcceleratorError("CUDA error: unknown error")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (lambda: torch.OutOfMemoryError("tried to allocate"), OutOfMemoryError, "more memory than the card has"),
        (lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), OutOfMemoryError, "more memory than the card has"),
        (accelerator_error, FatalEngineError, "only a restart cures"),
        (lambda: RuntimeError("CUDA error: an illegal memory access was encountered"), FatalEngineError, "only a restart"),
        (lambda: RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), FatalEngineError, "only a restart cures"),
        (lambda: ValueError("bad size in /models/x"), RefusedError, "bad size in the model directory"),
        (lambda: RuntimeError("shapes at /secret/path"), EngineError, r"failed on this job \(RuntimeError\)"),
        (lambda: KeyError("/secret/path"), EngineError, r"failed on this job \(KeyError\)"),
        (CancelledError, CancelledError, "^$"),
    ],
)
def test_what_a_model_raises_becomes_words_without_paths(
    error: Callable[[], Exception], kind: type[Exception], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    translation = translated(torch, error(), Path("/models/x"))

    assert type(translation) is kind
    with pytest.raises(kind, match=words):
        raise translation
    assert "/" not in str(translation) + caplog.text.replace("stoker_worker.engine", "")


class Tensor:
    """Something large that a failed call held."""


@pytest.fixture
def held() -> Iterator[list[weakref.ref[Tensor]]]:
    gc.disable()
    yield []
    gc.enable()


def test_an_error_does_not_keep_the_failed_calls_tensors(held: list[weakref.ref[Tensor]]) -> None:
    def fail() -> None:
        large = Tensor()
        held.append(weakref.ref(large))
        message = "tried to allocate"
        raise torch.OutOfMemoryError(message)

    kept: Exception | None = None
    try:
        fail()
    except torch.OutOfMemoryError as error:
        kept = error
        translated(torch, error, Path("/models/x"))

    assert kept is not None
    assert held[0]() is None


def test_a_full_card_is_emptied_for_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DiffusersEngine(Model(Pipeline.TEXT_TO_IMAGE, "m", Path("/nowhere")))
    part = nn.Sequential(*(nn.Linear(2, 2) for _ in range(20))).eval()
    engine._loaded = Loaded(SimpleNamespace(unet=part, components={"unet": part}), torch, "cpu", frozenset(), Footprint())
    engine._speed = speed = Speed(engine._loaded, frozenset(), FakeRecorder())
    speed.apply()
    large: list[weakref.ref[Tensor]] = []
    graphs: list[int] = []

    def fill(*_given: Any) -> None:
        held = Tensor()
        large.append(weakref.ref(held))
        with torch.inference_mode():
            for _ in range(2):
                part(torch.ones(1, 2))
        graphs.append(speed.graphs)
        message = "tried to allocate"
        raise torch.OutOfMemoryError(message)

    monkeypatch.setattr("stoker_worker.engine.diffusers.run_batch", fill)
    with pytest.raises(OutOfMemoryError) as failed:
        engine.run([], SimpleNamespace(stepped=frozenset))

    assert [*graphs, speed.graphs] == [1, 0]
    assert large[0]() is None
    assert failed.value.__context__ is None
