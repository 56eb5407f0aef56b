"""What is known of model families beyond what diffusers knows: one table, in the order in which model ids are looked through.

Class names, sizes, frames and prompt lengths are those of diffusers 0.42's pipelines; steps and guidance of distilled models are
those of their model cards, as Livepeer's runner has them. Formats are those that the models were published in.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stoker_contracts.jobs import JobLimits
from stoker_contracts.pipelines import Pipeline

_T2I, _I2I, _I2V = Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_IMAGE, Pipeline.IMAGE_TO_VIDEO


@dataclass(frozen=True, slots=True)
class Kind:
    """A diffusers class that runs one pipeline of a family.

    `rows` are the tensors, beside the latents, in which each picture of a batch has its part (two with guidance) and which the
    class hands out after a step. Where it hands out all that it goes on with, a picture can leave the batch; None: it cannot.
    """

    name: str
    rows: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """How the models of a family want to be loaded and called.

    `marks` stand in model ids, `classes` in the ``model_index.json`` of its models, whichever pipeline it was saved for.
    `default_steps` count where a job asks for 0. Sides must be divisible by `side_multiple`. Longer prompts than `prompt_tokens`
    are cut. A video has `frames` frames, n × `frame_step` + 1 (None: as many as the model was made for). `batches` tells that the
    pipeline takes several pictures in one call. `names` are other names for what a job says, `always` are arguments of each call.
    `float32` are the parts that are not to be rounded to `dtype`. With `noise_on_device` random numbers are drawn there.
    `decoded_together` is the most frames that the VAE decodes at once (None: all), which bounds its memory.
    """

    name: str
    kinds: Mapping[Pipeline, Kind]
    marks: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    default_steps: int = 50
    unguided: bool = False
    side_multiple: int = 8
    prompt_tokens: int | None = None
    frames: int | None = None
    frame_step: int = 1
    batches: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float16"
    float32: tuple[str, ...] = ()
    noise_on_device: bool = False
    decoded_together: int | None = None


FAMILIES = (
    Family(
        "SDXL",
        {
            _T2I: Kind("StableDiffusionXLPipeline", ("prompt_embeds", "add_text_embeds", "add_time_ids")),
            _I2I: Kind("StableDiffusionXLImg2ImgPipeline", ("prompt_embeds", "add_text_embeds", "add_time_ids")),
        },
        marks=("sdxl", "diffusion-xl", "visxl"),
        classes=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
        prompt_tokens=77,
    ),
    Family(
        "Stable Diffusion 3",
        {
            _T2I: Kind("StableDiffusion3Pipeline", ("prompt_embeds", "pooled_prompt_embeds")),
            _I2I: Kind("StableDiffusion3Img2ImgPipeline"),
        },
        marks=("stable-diffusion-3", "sd3"),
        classes=("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"),
        default_steps=28,
        side_multiple=16,
        prompt_tokens=256,
        dtype="bfloat16",
    ),
    Family(
        "FLUX.1",
        {_T2I: Kind("FluxPipeline"), _I2I: Kind("FluxImg2ImgPipeline")},
        marks=("flux.1", "flux1"),
        classes=("FluxPipeline", "FluxImg2ImgPipeline"),
        default_steps=28,
        side_multiple=16,
        prompt_tokens=512,
        dtype="bfloat16",
    ),
    Family(
        "Stable Diffusion 1 and 2",
        {
            _T2I: Kind("StableDiffusionPipeline", ("prompt_embeds",)),
            _I2I: Kind("StableDiffusionImg2ImgPipeline", ("prompt_embeds",)),
        },
        marks=("stable-diffusion-v1", "stable-diffusion-2", "sd-turbo"),
        classes=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        prompt_tokens=77,
    ),
    Family(
        "Stable Video Diffusion",
        {_I2V: Kind("StableVideoDiffusionPipeline")},
        marks=("stable-video-diffusion", "svd"),
        classes=("StableVideoDiffusionPipeline",),
        default_steps=25,
        decoded_together=8,
    ),
    Family(
        "LTX-Video",
        {_I2V: Kind("LTXImageToVideoPipeline")},
        marks=("ltx",),
        classes=("LTXPipeline", "LTXImageToVideoPipeline"),
        side_multiple=32,
        prompt_tokens=128,
        frames=97,
        frame_step=8,
        batches=False,  # its pipeline draws the decoder's noise from one generator
        names={"fps": "frame_rate"},
        always={"prompt": "", "decode_timestep": 0.05, "decode_noise_scale": 0.025},
        dtype="bfloat16",
        noise_on_device=True,
    ),
    Family(
        "Wan",
        {_I2V: Kind("WanImageToVideoPipeline")},
        marks=("wan-ai", "wan2"),
        classes=("WanPipeline", "WanImageToVideoPipeline"),
        side_multiple=16,
        prompt_tokens=512,
        frames=81,
        frame_step=4,
        batches=False,  # its pipeline takes one image
        always={"prompt": ""},
        dtype="bfloat16",
        float32=("vae", "image_encoder"),
    ),
)
_OTHER = Family(
    "other",
    {_T2I: Kind("AutoPipelineForText2Image"), _I2I: Kind("AutoPipelineForImage2Image"), _I2V: Kind("StableVideoDiffusionPipeline")},
    batches=False,
)
"""Whatever else diffusers can load for a pipeline, one picture at a time."""

DISTILLED: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...] = (
    (("lightning", "2step"), {"default_steps": 2}),
    (("lightning", "8step"), {"default_steps": 8}),
    (("lightning",), {"default_steps": 4}),
    (("3.5", "turbo"), {"default_steps": 4}),
    (("turbo",), {"default_steps": 1}),
    (("schnell",), {"default_steps": 4, "prompt_tokens": 256}),
    (("ltx", "distilled"), {"default_steps": 8}),
)
"""Models that make a picture in few steps and without guidance: what their ids have in them, and how they differ."""


def family_of(model_id: str, pipeline: Pipeline, class_name: str = "") -> Family:
    """The family of a model for one of its pipelines: by the class that its index names, or by its id before that is read."""
    lowered = model_id.lower().replace("_", "-")
    known = (family for family in FAMILIES if pipeline in family.kinds and _is_of(family, lowered, class_name))
    found = next(known, replace(_OTHER, default_steps=25) if pipeline is _I2V else _OTHER)
    few = next((changes for marks, changes in DISTILLED if all(mark in lowered for mark in marks)), None)
    return found if few is None else replace(found, unguided=True, **few)


def _is_of(family: Family, model_id: str, class_name: str) -> bool:
    if class_name:
        return class_name in family.classes
    return any(mark in model_id for mark in family.marks)


def equal_parts(frames: int, most: int) -> int:
    """Frames of each part where a video is cut into equal ones of at most `most`: then none holds frames of two videos."""
    return max(part for part in range(1, most + 1) if frames % part == 0)


def limits(family: Family, base: JobLimits) -> JobLimits:
    """What a job may ask of a model of `family`, where `base` holds for every model."""
    return base.model_copy(update={"side_multiple": math.lcm(base.side_multiple, family.side_multiple)})
