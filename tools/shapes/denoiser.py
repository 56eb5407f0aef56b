"""The denoiser and the text encoder, trained together: captions to latents."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from tools.shapes import vae, words, world
from tools.shapes.pace import Pace, average

_WIDTH = 64
"""Numbers that stand for one word."""
_BATCH = 64
_PEAK_RATE = 1.5e-3
_PICTURES_EACH = 32
"""Of each subject, at different places."""
_UNSAID = 0.1
"""Share of pictures shown without a caption, which makes guidance possible."""
_NOISIEST = 999
_PURE_NOISE = 0.1
"""Share of pictures at the noisiest step. It is the first that a picture is made with, and settles its colours."""
_LITTLE_NOISE = 300
"""Below this step of 1000 the noise leaves no doubt about what a picture shows."""
_WRONG = 0.5
"""Share of captions there that speak of another picture."""


Caption = Callable[[world.Subject, np.random.Generator], str]


@dataclass(frozen=True, slots=True)
class Examples:
    """Latents of spread 1, and what each shows."""

    latents: torch.Tensor
    subjects: list[world.Subject]


def examples(autoencoder: Any, chance: np.random.Generator) -> Examples:
    """Pictures of every subject."""
    subjects = [subject for subject in world.SUBJECTS for _ in range(_PICTURES_EACH)]
    latents = vae.encode(autoencoder, [world.draw(subject, world.place(chance)) for subject in subjects])
    return Examples(latents * autoencoder.config.scaling_factor, subjects)


def scheduler() -> Any:
    """Few steps that begin in pure noise: without that, a ground's colour could never be far from grey."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def train(autoencoder: Any, steps: int, seed: int) -> Any:
    """The whole pipeline."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    tokenizer, noises = words.tokenizer(), scheduler()
    shown = examples(autoencoder, chance)
    painter = torch.nn.ModuleDict({"text_encoder": CLIPTextModel(_text_config(tokenizer)), "unet": _unet()})
    pace = Pace("denoiser", painter.parameters(), steps, _PEAK_RATE)
    kept = average(painter)
    for _ in pace:
        picked = chance.integers(len(shown.subjects), size=_BATCH)
        tokens = _tokens(tokenizer, [_caption(shown.subjects[index], chance) for index in picked])
        pace.learn(_error(painter, noises, shown.latents[torch.from_numpy(picked)], _times(chance), tokens))
        kept.update_parameters(painter)
    return _pipeline(autoencoder, tokenizer, kept.module.eval(), noises)


def doubt(pipeline: Any, steps: int, seed: int) -> None:
    """Teach a trained pipeline what not to believe: unknown words, and words that are at odds with a picture of little noise.

    Before, it has only seen captions that are plain and right: it turns a picture's colours to those of the words at any strength.
    """
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    shown = examples(pipeline.vae, chance)
    painter = torch.nn.ModuleDict({"text_encoder": pipeline.text_encoder, "unet": pipeline.unet}).train()
    pace = Pace("denoiser, doubting", painter.parameters(), steps, _PEAK_RATE / 2)
    kept = average(painter)
    for _ in pace:
        picked, others = chance.integers(len(shown.subjects), size=(2, _BATCH))
        times = _times(chance)
        wrong = (times < _LITTLE_NOISE) & (chance.random(_BATCH) < _WRONG)
        told = np.where(wrong, others, picked)
        tokens = _tokens(pipeline.tokenizer, [_caption(shown.subjects[index], chance, world.loose_caption) for index in told])
        pace.learn(_error(painter, pipeline.scheduler, shown.latents[torch.from_numpy(picked)], times, tokens))
        kept.update_parameters(painter)
    painter.load_state_dict(kept.module.state_dict())
    painter.eval()


def _times(chance: np.random.Generator) -> NDArray[np.int64]:
    """How noisy each picture of a batch is, 0 to 999."""
    return np.where(chance.random(_BATCH) < _PURE_NOISE, _NOISIEST, chance.integers(_NOISIEST + 1, size=_BATCH))


def _caption(subject: world.Subject, chance: np.random.Generator, caption: Caption = world.caption) -> str:
    return "" if chance.random() < _UNSAID else caption(subject, chance)


def _error(painter: Any, noises: Any, clean: torch.Tensor, drawn: NDArray[np.int64], tokens: torch.Tensor) -> torch.Tensor:
    times, noise = torch.from_numpy(drawn), torch.randn_like(clean)
    said = painter["text_encoder"](tokens).last_hidden_state
    velocity = painter["unet"](noises.add_noise(clean, noise, times), times, said).sample
    return functional.mse_loss(velocity, noises.get_velocity(clean, noise, times))


def _tokens(tokenizer: Any, captions: list[str]) -> torch.Tensor:
    tokens: torch.Tensor = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return tokens


def _pipeline(autoencoder: Any, tokenizer: Any, painter: Any, noises: Any) -> Any:
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=painter["text_encoder"],
        tokenizer=tokenizer,
        unet=painter["unet"],
        scheduler=noises,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _text_config(tokenizer: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_position_embeddings=words.LONGEST,
        hidden_size=_WIDTH,
        projection_dim=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_attention_heads=4,
        num_hidden_layers=2,
        hidden_act="gelu",
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=world.SIDE // 8,
        in_channels=vae.CHANNELS,
        out_channels=vae.CHANNELS,
        block_out_channels=(64, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        mid_block_type=None,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
