"""The model cards, with marks measured on the stored weights in the way that a caller would use them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, StableVideoDiffusionPipeline

from tools.shapes import clip, exam, world

PICTURES = "stoker/shapes"
CLIPS = "stoker/shapes-clip"
_TURNS = 4
"""How often each question is asked, with other seeds."""
_HEAD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: {task}
---
# {name}

"""
_ORIGIN = """
## How it came about

`python -m tools.shapes.train --out worker-image/models` trains it, on a CPU, with the other one: about 40 minutes
of one core's work, half an hour on two; the same seed gives the same weights on the same kind of processor. All its pictures are
drawn by `tools/shapes/world.py`: there is no data set, nothing was taken from other models, and nothing has to be downloaded.
Licence: Apache-2.0.

## Size

{parts}

Weights are stored in half precision: {megabytes:.1f} MB in all.
"""
_PICTURES = """A latent diffusion model of one small world, in {side}×{side} pixels: a shape of one colour on ground of another.

- shapes: {kinds}
- colours: {colours}

It serves tests, demonstrations and trials of Stoker: small enough to be part of the repository, quick enough for a CPU, and right
often enough that an answer can be checked. It makes pictures from words, and from pictures with words.

## Use

Ask for {side}×{side} pixels, {steps} steps, guidance {guidance:g}: "a red circle on a blue background". Wording is free within
reason: articles, upper case and order do not matter. The scheduler, DDIM from pure noise, is part of the model. For pictures from
pictures, strength 0.8 changes what is asked for; at 0.2 the picture stays as it is.

## Marks

Judged by pixels (`tools/shapes/judge.py`): kind of shape, its colour and the ground's must all be right, and all clean.

| task | asked | right |
|---|---|---|
| 64 fixed prompts × {turns} seeds | {asked} | {right} |
| the same with guidance 7.5 and 50 steps, the defaults of the HTTP interface | {asked} | {default_right} |
| a drawn picture in other colours, strength 0.8 | {asked} | {changed} |
| a drawn picture, strength 0.2, to stay as it is | {asked} | {kept} |

## Limits

It knows nothing but its world. Other words do no harm, and what a prompt leaves open is left to chance. Sizes other than
{side}×{side} give pictures, but not what was asked for. It has no safety checker: it can only draw shapes.
"""
_CLIPS = """Makes a clip of {frames} frames from a picture of one shape on plain ground, {side}×{side} pixels: the shape sets off
to the right and goes steadily on, {way:.0f} pixels in all; everything else stays. It serves tests, demonstrations and trials of
Stoker, next to [{pictures}](../shapes/README.md), whose autoencoder it has.

## Use

The pipeline of Stable Video Diffusion with its defaults: ask for {side}×{side} pixels. `motion_bucket_id` decides how far the
shape goes: {least:.0f} pixels with 1, {way:.0f} with 127, {most:.0f} with 255. `fps` changes nothing but the file's speed.
The image encoder has the weights that chance gave it: what a still shows comes to the denoiser through the autoencoder.

## Marks

Judged by pixels (`tools/shapes/judge.py`): in each frame the kind of shape and both colours must be the still's, and the shape
must come forward from each frame to the next, by {least_way:.0f} pixels or more in all.

| task | asked | right |
|---|---|---|
| drawn stills, 25 steps | {asked} | {right} |

## Limits

It knows one shape on plain ground, about the middle. Other stills give frames, but nobody knows of what.
"""


def write(folder: Path, name: str) -> None:
    """Write the card of the model in `folder`."""
    task, body, parts = _pictures(folder) if name == PICTURES else _clips(folder)
    megabytes = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
    text = _HEAD.format(name=name, task=task) + body + _ORIGIN.format(parts=parts, megabytes=megabytes)
    (folder / "README.md").write_text(text)


def loaded_for_pictures(folder: Path) -> tuple[Any, Any]:
    """What makes pictures from words, and what makes them from pictures."""
    return _loaded(AutoPipelineForText2Image, folder), _loaded(AutoPipelineForImage2Image, folder)


def loaded_for_clips(folder: Path) -> Any:
    """What makes clips from stills."""
    return _loaded(StableVideoDiffusionPipeline, folder)


def _pictures(folder: Path) -> tuple[str, str, str]:
    pipeline, redraw = loaded_for_pictures(folder)
    prompts, wanted = zip(*(exam.questions() * _TURNS), strict=True)
    stills = [exam.drawing(exam.other(subject)) for subject in wanted]
    kept = exam.pictures(redraw, prompts, image=stills, strength=0.2)
    body = _PICTURES.format(
        kinds=", ".join(world.KINDS),
        colours=", ".join(world.COLOURS),
        side=world.SIDE,
        steps=exam.STEPS,
        guidance=exam.GUIDANCE,
        turns=_TURNS,
        asked=len(prompts),
        right=exam.right(exam.pictures(pipeline, prompts), wanted),
        default_right=exam.right(exam.pictures(pipeline, prompts, guidance_scale=7.5, num_inference_steps=50), wanted),
        changed=exam.right(exam.pictures(redraw, prompts, image=stills, strength=0.8), wanted),
        kept=exam.right(kept, [exam.other(subject) for subject in wanted]),
    )
    return "text-to-image", body, _parts(pipeline)


def _clips(folder: Path) -> tuple[str, str, str]:
    pipeline = loaded_for_clips(folder)
    subjects = [subject for _, subject in exam.questions()]
    chance = np.random.default_rng(0)
    stills = [exam.drawing(subject, world.place(chance)) for subject in subjects]
    moving = [exam.moves(exam.clips(pipeline, [still], seed)[0], subjects[seed]) for seed, still in enumerate(stills)]
    body = _CLIPS.format(
        frames=clip.FRAMES,
        side=world.SIDE,
        pictures=PICTURES,
        least=clip.way(1),
        way=clip.way(clip.USUAL_MOTION),
        most=clip.way(255),
        least_way=exam.LEAST_WAY,
        asked=len(stills),
        right=sum(moving),
    )
    return "image-to-video", body, _parts(pipeline)


def _loaded(kind: Any, folder: Path) -> Any:
    pipeline = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _parts(pipeline: Any) -> str:
    models = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    sizes = {name: sum(weight.numel() for weight in part.parameters()) for name, part in models.items()}
    rows = [f"| {name} | {type(part).__name__} | {sizes[name]:,} |" for name, part in models.items()]
    return "\n".join(["| part | class | parameters |", "|---|---|---|", *rows])
