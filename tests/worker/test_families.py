"""What is known of model families; no model is run."""

import json
from pathlib import Path

import pytest

from stoker_contracts.jobs import ImageToVideo, JobLimits, TextToImage
from stoker_contracts.pipelines import FACTS, Media, Pipeline
from stoker_worker.app.limits import job_limits
from stoker_worker.app.settings import Settings
from stoker_worker.engine.families import DISTILLED, FAMILIES, equal_parts, family_of, limits
from stoker_worker.engine.start.folders import family_in

T2I, I2I, I2V = Pipeline
MODELS = [
    ("stabilityai/stable-diffusion-xl-base-1.0", T2I, "SDXL"),
    ("stabilityai/sdxl-turbo", I2I, "SDXL"),
    ("SG161222/RealVisXL_V4.0_Lightning", T2I, "SDXL"),
    ("stabilityai/stable-diffusion-3.5-large", T2I, "Stable Diffusion 3"),
    ("black-forest-labs/FLUX.1-dev", I2I, "FLUX.1"),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", T2I, "Stable Diffusion 1 and 2"),
    ("stabilityai/sd-turbo", I2I, "Stable Diffusion 1 and 2"),
    ("stabilityai/stable-video-diffusion-img2vid-xt-1-1", I2V, "Stable Video Diffusion"),
    ("Lightricks/LTX-Video", I2V, "LTX-Video"),
    ("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", I2V, "Wan"),
    ("someone/swan-lake", I2V, "other"),
    ("someone/anything", T2I, "other"),
]


@pytest.mark.parametrize(("model_id", "pipeline", "name"), MODELS)
def test_a_family_is_told_by_the_models_id(model_id: str, pipeline: Pipeline, name: str) -> None:
    assert family_of(model_id, pipeline).name == name


def test_the_class_in_the_index_counts_for_more_than_the_id() -> None:
    assert family_of("someone/sdxl-like", T2I, "FluxPipeline").name == "FLUX.1"
    assert family_of("someone/sdxl-like", T2I, "SomethingNewPipeline").name == "other"
    assert family_of("someone/anything", I2V, "LTXPipeline").name == "LTX-Video"


@pytest.mark.parametrize("pipeline", list(Pipeline))
def test_every_family_that_is_told_can_be_loaded_for_the_pipeline(pipeline: Pipeline) -> None:
    ids = ["", *(mark for family in FAMILIES for mark in family.marks)]

    assert all(family_of(model_id, pipeline).kinds[pipeline].name for model_id in ids)


@pytest.mark.parametrize(
    ("model_id", "steps", "unguided"),
    [
        ("stabilityai/sdxl-turbo", 1, True),
        ("ByteDance/SDXL-Lightning-2step", 2, True),
        ("ByteDance/SDXL-Lightning", 4, True),
        ("SG161222/RealVisXL_V4.0_Lightning", 4, True),
        ("black-forest-labs/FLUX.1-schnell", 4, True),
        ("stabilityai/stable-diffusion-3.5-large-turbo", 4, True),
        ("black-forest-labs/FLUX.1-dev", 28, False),
        ("runwayml/stable-diffusion-v1-5", 50, False),
    ],
)
def test_distilled_models_run_with_few_steps_and_without_guidance(model_id: str, steps: int, unguided: bool) -> None:  # noqa: FBT001
    family = family_of(model_id, T2I)

    assert (family.default_steps, family.unguided) == (steps, unguided)


def test_schnell_reads_shorter_prompts_than_dev() -> None:
    dev, schnell = (family_of(f"black-forest-labs/FLUX.1-{kind}", T2I) for kind in ("dev", "schnell"))

    assert (dev.prompt_tokens, schnell.prompt_tokens) == (512, 256)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_table_fits_together(family: object) -> None:
    known = next(each for each in FAMILIES if each is family)
    videos = {FACTS[pipeline].produces is Media.VIDEO for pipeline in known.kinds}

    assert len(videos) == 1
    assert {kind.name for kind in known.kinds.values()} & set(known.classes)
    assert known.frames is None or (known.frames - 1) % known.frame_step == 0
    assert known.batches or all(kind.rows is None for kind in known.kinds.values())
    assert all(mark == mark.lower() and "_" not in mark for mark in known.marks)


def test_a_longer_mark_is_looked_for_before_a_shorter_one_that_it_contains() -> None:
    seen: list[set[str]] = []
    for marks, _ in DISTILLED:
        assert not any(earlier < set(marks) for earlier in seen)
        seen.append(set(marks))


@pytest.mark.parametrize(
    ("model_id", "pipeline", "multiple"),
    [("stabilityai/sdxl-turbo", T2I, 8), ("black-forest-labs/FLUX.1-dev", T2I, 16), ("Lightricks/LTX-Video", I2V, 32)],
)
def test_sides_must_be_divisible_as_the_family_needs_it(model_id: str, pipeline: Pipeline, multiple: int) -> None:
    bounds = limits(family_of(model_id, pipeline), JobLimits(max_steps=7))
    job = TextToImage(prompt="p", num_inference_steps=1) if pipeline is T2I else ImageToVideo(num_inference_steps=1)
    fits = job.model_copy(update={"width": 10 * multiple, "height": multiple})
    odd = job.model_copy(update={"width": 10 * multiple + 8, "height": multiple + multiple // 2})

    assert bounds.max_steps == 7
    assert bounds.refusal(fits) is None
    assert f"divisible by {multiple}" in (bounds.refusal(odd) or "")


def test_a_worker_refuses_what_its_model_cannot_make(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    told = Settings(pipeline=T2I, model_id="someone/anything", model_dir=tmp_path, engine="diffusers")

    assert job_limits(told).side_multiple == 16
    assert job_limits(told.model_copy(update={"engine": "stub"})).side_multiple == 8


@pytest.mark.parametrize("index", [None, "{", "[]", "{}", '{"_class_name": null}'])
def test_without_a_readable_index_the_id_decides(tmp_path: Path, index: str | None) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)

    assert family_in(tmp_path, "stabilityai/sdxl-turbo", T2I).name == "SDXL"


@pytest.mark.parametrize(("frames", "part"), [(25, 5), (14, 7), (8, 8), (16, 8), (13, 1), (1, 1)])
def test_a_video_is_decoded_in_equal_parts(frames: int, part: int) -> None:
    assert equal_parts(frames, 8) == part
