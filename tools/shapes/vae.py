"""The autoencoder: pictures of 64×64 pixels to latents of 8×8 and back. Both models have it."""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from tools.shapes import world
from tools.shapes.pace import Pace, average

CHANNELS = 4
_BATCH = 8
_DETAIL = world.SIDE // 2
"""Side of the pictures that it learns most from: a quarter of the work, and edges look alike in all sizes."""
_SHARE_OF_DETAILS = 5 / 6
_PEAK_RATE = 3e-3
_PRIOR = 3e-4
"""Weight of the pull towards latents of mean 0 and spread 1, beside the error of a pixel in -1..1."""
_FIRST_LOG_VARIANCE = -5.0
_MOST_WRONG = 0.3
"""Largest spread of what is wrong with latents, beside their own of 1, that a decoder learns to forgive."""
_NAMELESS = 0.4
"""Share of pictures in colours that have no name: callers bring their own pictures."""


def build() -> Any:
    """An untrained one. Norms have one group each, so that plain colours survive them."""
    model = AutoencoderKL(
        block_out_channels=[16, 32, 32, 32],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=world.SIDE,
        scaling_factor=1.0,
        force_upcast=False,
    )
    _start_transparent(model)
    return model


def train(steps: int, seed: int) -> Any:
    """A trained one, whose latents have mean 0 and spread 1."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    model = build()
    kept = average(model)
    details = int(steps * _SHARE_OF_DETAILS)
    _learn(model, kept, Pace("autoencoder, details", model.parameters(), details, _PEAK_RATE), chance, _DETAIL)
    _learn(model, kept, Pace("autoencoder, pictures", model.parameters(), steps - details, _PEAK_RATE / 3), chance, world.SIDE)
    trained = kept.module.eval()
    _standardize(trained, [world.draw(subject, world.place(chance)) for subject in world.SUBJECTS])
    return trained


def forgive(model: Any, steps: int, seed: int) -> Any:
    """The same encoder with a decoder that draws clean shapes from latents that are not quite right, as a denoiser's are."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    kept = average(model)
    parts = [*model.decoder.parameters(), *model.post_quant_conv.parameters()]
    pace = Pace("autoencoder, forgiving", parts, steps, _PEAK_RATE / 3)
    for _ in pace:
        shown = [_any_picture(chance, world.SIDE) for _ in range(_BATCH)]
        latents = encode(model, shown)
        wrong = _MOST_WRONG * torch.rand(_BATCH, 1, 1, 1) * torch.randn_like(latents)
        pace.learn(_difference(model.decode(latents + wrong).sample, tensor(shown)))
        kept.update_parameters(model)
    return kept.module.eval()


def tensor(pictures: list[world.Floats]) -> torch.Tensor:
    """Pictures × channels × height × width in -1..1, as the autoencoder takes them."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) * 2 - 1


def encode(model: Any, pictures: list[world.Floats]) -> torch.Tensor:
    """Latents without noise, 64 pictures at a time."""
    with torch.no_grad():
        return torch.cat([model.encode(tensor(pictures[at : at + 64])).latent_dist.mode() for at in range(0, len(pictures), 64)])


def _learn(model: Any, kept: Any, pace: Pace, chance: np.random.Generator, side: int) -> None:
    for _ in pace:
        pictures = tensor([_any_picture(chance, side) for _ in range(_BATCH)])
        posterior = model.encode(pictures).latent_dist
        difference = _difference(model.decode(posterior.sample()).sample, pictures)
        pace.learn(difference + _PRIOR * (posterior.mean**2 + posterior.var - posterior.logvar).mean())
        kept.update_parameters(model)


def _difference(drawn: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """The first part makes edges sharp, the second brings colours near soon."""
    difference: torch.Tensor = functional.l1_loss(drawn, pictures) + 2 * functional.mse_loss(drawn, pictures)
    return difference


def _any_picture(chance: np.random.Generator, side: int) -> world.Floats:
    """A shape anywhere."""
    subject = world.SUBJECTS[chance.integers(len(world.SUBJECTS))]
    x, y = chance.uniform(6, side - 6, 2)
    where = world.Place(float(x), float(y), float(chance.uniform(6, 18)))
    if chance.random() < _NAMELESS:
        colour, ground = chance.random((2, 3)).astype(np.float32)
        return world.paint(subject.kind, colour, ground, where, side)
    return world.paint(subject.kind, world.rgb(subject.colour), world.rgb(subject.ground), where, side)


def _start_transparent(model: Any) -> None:
    """Begin as a window that lets colours through, with idle blocks beside it and hardly any noise.

    From diffusers' own beginning the first thousand steps are lost on finding out that colours go from one end to the other.
    """
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, torch.nn.Conv2d) and "resnets" not in name:
                torch.nn.init.dirac_(layer.weight)
                layer.weight += 0.3 * torch.randn_like(layer.weight) / layer.weight[0].numel() ** 0.5
                torch.nn.init.zeros_(layer.bias)
            elif name.endswith("conv2"):
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
        model.quant_conv.weight[CHANNELS:] = 0
        model.quant_conv.bias[CHANNELS:] = _FIRST_LOG_VARIANCE


def _standardize(model: Any, pictures: list[world.Floats]) -> None:
    """Shift and stretch the latents to mean 0 and spread 1 in each channel, within the layers on both sides of them."""
    latents = encode(model, pictures)
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out = model.quant_conv, model.post_quant_conv
    with torch.no_grad():
        out.bias += out.weight[:, :, 0, 0] @ mean
        out.weight *= spread[None, :, None, None]
        into.weight[:CHANNELS] /= spread[:, None, None, None]
        into.bias[:CHANNELS] = (into.bias[:CHANNELS] - mean) / spread
        into.bias[CHANNELS:] -= 2 * spread.log()
