"""The still-to-clip model: a still's shape sets off to the right and goes steadily on. All else stays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
from PIL import Image
from torch.nn import functional
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tools.shapes import vae, world
from tools.shapes.pace import Pace, average

FRAMES = 8
_EYE = 224
"""Side that the pipeline scales a still to before its image encoder sees it."""
_WIDTH = 32
"""Numbers that stand for a still as the image encoder sees it."""
_CLIPS = 1024
_BATCH = 8
_PEAK_RATE = 1.5e-3
_UNSHOWN = 0.2
"""Share of clips learned without their still, which makes guidance possible."""
_LEAST_NOISE, _MOST_NOISE = 0.01, 20.0
USUAL_MOTION = 127
"""Motion bucket that a caller gets who names none."""
_USUAL = 0.5
"""Share of clips with it."""
_MOST_GRAIN = 0.05
"""Strongest noise that a still is trained with."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Clips: their latents (clips × frames × channels × 8 × 8), their stills as latents and as seen, their three numbers."""

    latents: torch.Tensor
    stills: torch.Tensor
    views: torch.Tensor
    numbers: torch.Tensor


def way(motion: int) -> float:
    """How far a shape goes from the first frame to the last, in pixels: 10 by default."""
    return 3 + 7 * motion / USUAL_MOTION


def draw(subject: world.Subject, start: world.Place, motion: int) -> list[world.Floats]:
    """The frames."""
    steps = np.linspace(0, way(motion), FRAMES)
    return [world.draw(subject, world.Place(start.x + float(step), start.y, start.radius)) for step in steps]


def build(autoencoder: Any) -> Any:
    """An untrained pipeline. Its image encoder stays as chance made it: what a still shows is in its latents."""
    return StableVideoDiffusionPipeline(
        vae=autoencoder,
        image_encoder=CLIPVisionModelWithProjection(_vision_config()).eval(),
        unet=_unet(),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            sigma_min=_LEAST_NOISE,
            sigma_max=_MOST_NOISE,
            timestep_spacing="leading",
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        feature_extractor=CLIPImageProcessor(crop_size=_EYE, size=_EYE),
    )


def train(autoencoder: Any, steps: int, seed: int) -> Any:
    """The whole pipeline."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    pipeline = build(autoencoder)
    shown = _examples(pipeline, chance)
    pace = Pace("clips", pipeline.unet.parameters(), steps, _PEAK_RATE)
    kept = average(pipeline.unet)
    for _ in pace:
        picked = torch.from_numpy(chance.integers(len(shown.latents), size=_BATCH))
        batch = Examples(shown.latents[picked], shown.stills[picked], shown.views[picked], shown.numbers[picked])
        pace.learn(_error(pipeline.unet, batch, chance))
        kept.update_parameters(pipeline.unet)
    pipeline.unet.load_state_dict(kept.module.state_dict())
    pipeline.unet.eval()
    return pipeline


def _error(unet: Any, clips: Examples, chance: np.random.Generator) -> torch.Tensor:
    """Of the velocity at noise of chance, as the scheduler wants it (Karras and others 2022, with data of spread 1)."""
    sigma = np.exp(chance.normal(0, 1.6, len(clips.latents))).clip(_LEAST_NOISE, _MOST_NOISE).astype(np.float32)
    noise = torch.from_numpy(sigma)
    wide, size = noise[:, None, None, None, None], (noise**2 + 1).sqrt()[:, None, None, None, None]
    noisy = clips.latents + wide * torch.randn_like(clips.latents)
    shown = torch.from_numpy(chance.random(len(noise)) >= _UNSHOWN).float()[:, None, None]
    stills = (clips.stills * shown[..., None])[:, None].expand_as(noisy)
    velocity = unet(torch.cat([noisy / size, stills], dim=2), noise.log() / 4, clips.views * shown, clips.numbers).sample
    return functional.mse_loss(velocity, (noisy / size**2 - clips.latents) * size / wide)


def _examples(pipeline: Any, chance: np.random.Generator) -> Examples:
    clips, stills, numbers = [], [], []
    for _ in range(_CLIPS):
        motion = USUAL_MOTION if chance.random() < _USUAL else int(chance.integers(1, 256))
        grain, pace = chance.uniform(0, _MOST_GRAIN), chance.integers(0, 30)
        subject = world.SUBJECTS[chance.integers(len(world.SUBJECTS))]
        frames = draw(subject, world.place(chance), motion)
        clips.append(vae.encode(pipeline.vae, frames))
        stills.append((frames[0] + grain / 2 * chance.standard_normal(frames[0].shape)).astype(np.float32))
        numbers.append([pace, motion, grain])
    return Examples(
        torch.stack(clips),
        vae.encode(pipeline.vae, stills),
        _views(pipeline, stills),
        torch.tensor(numbers, dtype=torch.float32),
    )


def _views(pipeline: Any, stills: list[world.Floats]) -> torch.Tensor:
    """What the pipeline's image encoder makes of them."""
    pictures = [Image.fromarray((still.clip(0, 1) * 255).round().astype(np.uint8)) for still in stills]
    with torch.no_grad():
        views: torch.Tensor = torch.cat([pipeline._encode_image(picture, "cpu", 1, False) for picture in pictures])  # noqa: FBT003, SLF001
    return views


def _vision_config() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=_WIDTH,
        projection_dim=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=_EYE,
        patch_size=32,
    )


def _unet() -> UNetSpatioTemporalConditionModel:
    return UNetSpatioTemporalConditionModel(
        sample_size=world.SIDE // 8,
        in_channels=2 * vae.CHANNELS,
        out_channels=vae.CHANNELS,
        block_out_channels=(64, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        cross_attention_dim=_WIDTH,
        num_attention_heads=2,
        addition_time_embed_dim=_WIDTH,
        projection_class_embeddings_input_dim=3 * _WIDTH,
        num_frames=FRAMES,
    )
