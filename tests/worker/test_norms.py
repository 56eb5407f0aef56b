"""Group norms by kernels of ours: as exact as torch's, in every layout, and the model's in all that others look at."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from stoker_contracts.jobs import ImageToVideo, Job, TextToImage
from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from stoker_worker.engine.protocol import FatalEngineError, Made, Row, Unheard
from stoker_worker.engine.speed.speed import Speed
from stoker_worker.engine.speed.switches import Place
from tests.worker.conftest import Engines

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from stoker_worker.engine.diffusers import DiffusersEngine

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

INTERPRETED = """
import json, sys
import torch
from torch.nn import functional
from stoker_worker.engine.speed.norm_kernels import group_norm

LAYOUTS = {
    "by channel": lambda x: x,
    "by pixel": lambda x: x.movedim(1, -1).contiguous().movedim(-1, 1),
    "neither": lambda x: torch.stack([x, x], -1)[..., 0],
}

def told(shape, groups, dtype, layout, activated, mean=0.0, deviation=1.0):
    x = LAYOUTS[layout]((torch.randn(shape) * deviation + mean).to(dtype))
    weight, bias = (torch.randn(shape[1]).to(dtype) for _ in range(2))
    ours = group_norm(x, groups, weight, bias, 1e-5, activated=activated)
    exact = functional.group_norm(x.double(), groups, weight.double(), bias.double(), 1e-5)
    exact = functional.silu(exact) if activated else exact
    away = ((ours.double() - exact).abs() / exact.abs().clamp_min(1)).max().item()
    lies = "by channel" if ours.is_contiguous() else "by pixel" if ours.movedim(1, -1).is_contiguous() else "neither"
    return {"away": away, "lies": lies, "dtype": str(ours.dtype).removeprefix("torch.")}

torch.set_num_threads(1)
torch.manual_seed(0)
print(json.dumps([told(shape, groups, getattr(torch, dtype), *rest) for shape, groups, dtype, *rest in json.load(sys.stdin)]))
"""
"""Runs the kernels in Triton's interpreter, which has to be chosen before Triton is imported."""

LIMITS = {"float32": 1e-6, "float16": 2**-11 * 1.01, "bfloat16": 2**-7}
"""Half a unit in the last place of a rounded result; a whole one of bfloat16, which the interpreter cuts off and does not round."""
Case = tuple[Any, ...]
CASES: list[Case] = [
    # 10, 20, 30, 40, 60 and 80 channels in a group; sides that no tile divides.
    ((1, 320, 9, 7), 32, "float32", "by pixel", True),
    ((2, 640, 5, 6), 32, "float16", "by pixel", True),
    ((1, 960, 5, 5), 32, "float32", "by channel", False),
    ((1, 1280, 4, 4), 32, "float16", "by channel", True),
    ((1, 1920, 3, 3), 32, "float32", "by pixel", False),
    ((1, 2560, 2, 2), 32, "bfloat16", "by pixel", True),
    # A group of several tiles and chunks; channels of which no power of two is a divisor.
    ((2, 8, 41, 53), 1, "float32", "by channel", True),
    ((1, 128, 33, 65), 32, "float16", "by pixel", True),
    ((2, 30, 21, 50), 30, "float32", "by pixel", False),
    ((1, 33, 40, 27), 3, "bfloat16", "by channel", False),
    # Words of attention, and videos.
    ((2, 64, 50), 32, "float32", "by channel", False),
    ((2, 64, 50), 32, "float32", "by pixel", False),
    ((1, 64, 3, 6, 7), 32, "float16", "by channel", True),
    ((1, 64, 3, 6, 7), 32, "float32", "by pixel", True),
    # What lies in neither way, one pixel, one channel.
    ((1, 32, 6, 7), 8, "float32", "neither", True),
    ((3, 32, 1, 1), 8, "float32", "by channel", True),
    ((1, 1, 9, 9), 1, "float32", "by channel", False),
]
FAR: list[Case] = [((1, 32, 20, 20), 8, "float32", layout, False, 100.0, 0.1) for layout in ("by channel", "by pixel")]
HANDED_OVER = ("conv_in", "post_quant_conv")
"""Convolutions that read what a pipeline hands over."""
FAR_LIMIT = 5 * 2**-17 / 0.1
"""Five units in the last place of a mean of 100, in deviations of 0.1. A plain sum of squares is off by some percent there."""


@pytest.fixture(scope="session")
def told() -> dict[Case, dict[str, Any]]:
    """What became of each case, by one run of the interpreter."""
    cases = [*CASES, *FAR]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], input=json.dumps(cases), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(cases, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_kernels_are_as_exact_as_the_format_and_keep_the_layout(told: dict[Case, dict[str, Any]], case: Case) -> None:
    found, (_, _, dtype, layout, _) = told[case], case

    assert found["away"] <= LIMITS[dtype]
    assert found["dtype"] == dtype
    assert found["lies"] == ("by channel" if layout == "neither" else layout)


@pytest.mark.parametrize("case", FAR, ids=str)
def test_a_large_mean_costs_no_digits_of_a_small_deviation(told: dict[Case, dict[str, Any]], case: Case) -> None:
    assert told[case]["away"] <= FAR_LIMIT


def loaded(engine: "DiffusersEngine") -> "DiffusersEngine":
    """The same model once more."""
    from stoker_worker.engine.diffusers import DiffusersEngine  # noqa: PLC0415 - torch only where it is tested

    made = DiffusersEngine(engine._model)
    made.load(lambda _name, _seconds: None)
    made._family = engine._family
    return made


def parts(engine: "DiffusersEngine") -> list[Any]:
    pipe = engine._ready.pipe
    return [part for name in ("unet", "transformer", "vae") if (part := getattr(pipe, name, None)) is not None]


def made_by(engine: "DiffusersEngine", pipeline: Pipeline, seed: int) -> Made:
    video = pipeline is Pipeline.IMAGE_TO_VIDEO
    size = {"width": 64, "height": 32, "num_inference_steps": 2}
    job: Job = ImageToVideo(**size) if video else TextToImage(prompt=f"circle {seed}", guidance_scale=3, **size)
    noise = np.random.default_rng(seed).integers(0, 255, (32, 64, 3), dtype=np.uint8)
    (made,) = engine.run([Row(job, seed, Image.fromarray(noise) if video else None)], Unheard()).rows
    assert isinstance(made, list)
    return made


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux", "svd"])
def test_without_a_card_a_familys_pictures_are_the_same_bit_by_bit(engines: Engines, family: str) -> None:
    from stoker_worker.engine.speed.norms import fuse  # noqa: PLC0415 - torch only where it is tested

    pipeline = tiny.FAMILIES[family][0]
    plain = engines(family, pipeline)
    ours = loaded(plain)
    fused = [fuse(part) for part in parts(ours)]

    assert fused[-1] > 0
    for seed in range(2):
        assert np.array_equal(made_by(ours, pipeline, seed), made_by(plain, pipeline, seed))


@pytest.mark.parametrize("family", ["sdxl", "svd"])
def test_every_norm_is_ours_and_its_weights_are_the_models_under_their_names(engines: Engines, family: str) -> None:
    from stoker_worker.engine.speed.norms import FusedGroupNorm, fuse  # noqa: PLC0415 - torch only where it is tested

    for part in parts(loaded(engines(family, tiny.FAMILIES[family][0]))):
        before = list(part.named_parameters())
        norms = [name for name, each in part.named_modules() if isinstance(each, torch.nn.GroupNorm)]

        assert fuse(part) == len(norms)
        after = list(part.named_parameters())
        assert [name for name, _ in after] == [name for name, _ in before]
        assert all(one is other for (_, one), (_, other) in zip(after, before, strict=True))
        ours = {name: each for name, each in part.named_modules() if type(each) is FusedGroupNorm}
        assert list(ours) == norms
        assert {name for name, norm in ours.items() if norm.activated} == {
            name for name in norms if name.rpartition(".")[2] in {"norm1", "norm2", "conv_norm_out"}
        }
        assert fuse(part) == 0


def test_a_norm_whose_result_is_scaled_before_it_is_activated_stays_without_activation() -> None:
    from diffusers.models.resnet import ResnetBlock2D  # noqa: PLC0415 - torch only where it is tested

    from stoker_worker.engine.speed.norms import fuse  # noqa: PLC0415 - as above

    torch.manual_seed(0)
    block = ResnetBlock2D(in_channels=32, temb_channels=8, groups=4, time_embedding_norm="scale_shift").eval()
    given = torch.randn(2, 32, 6, 6), torch.randn(2, 8)
    before = block(*given)

    assert fuse(block) == 2
    assert not block.norm1.activated
    assert torch.equal(block(*given), before)


@pytest.mark.parametrize("family", ["sdxl", "sd15", "svd"])
def test_every_convolution_reads_pictures_that_lie_by_pixel(engines: Engines, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = tiny.FAMILIES[family][0]
    engine = loaded(engines(family, pipeline))
    monkeypatch.setattr(Speed, "_place", lambda _speed: Place((9, 0), has_triton=True))
    engine._speed = Speed(engine._ready, frozenset({"fused-norms"}), None)
    engine._speed.apply()
    read: dict[str, bool] = {}

    def look(name: str) -> Callable[[Any, Any], None]:
        def hook(_module: Any, given: tuple[Any, ...]) -> None:
            read[name] = read.get(name, True) and given[0].movedim(1, -1).is_contiguous()

        return hook

    for part in parts(engine):
        for name, module in part.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_pre_hook(look(f"{type(part).__name__}.{name}"))
    made_by(engine, pipeline, 1)

    by_channel = {name.rpartition(".")[2] for name, by_pixel in read.items() if not by_pixel}
    assert len(read) > 20
    assert by_channel <= {*HANDED_OVER, "proj_out"}, "SD 1.5's transformers lay by channel what their own last convolution reads"


def test_a_place_where_kernels_cannot_be_compiled_is_refused_in_words(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    from stoker_worker.engine.speed import norms  # noqa: PLC0415 - torch only where it is tested

    def fail(_device: str) -> None:
        message = "Failed to find C compiler in /usr/bin"
        raise RuntimeError(message)

    monkeypatch.setattr(norms, "try_out", fail)
    monkeypatch.setattr(Speed, "_place", lambda _speed: Place((9, 0), has_triton=True))
    speed = Speed(engines("sdxl", Pipeline.TEXT_TO_IMAGE)._ready, frozenset({"fused-norms"}), None)

    with pytest.raises(
        FatalEngineError, match=r"fused-norms cannot compile .* \(RuntimeError\); Triton needs a C compiler"
    ) as refused:
        speed.apply()
    assert "/usr/bin" not in str(refused.value)
