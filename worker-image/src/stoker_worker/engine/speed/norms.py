"""Group norms by kernels of ours, with the SiLU that follows them, put into a model's modules.

The modules are the model's in all that others look at: parameters are the same objects under the same names, in the same order.
Where there is no card, and in number formats that the kernels do not read, they do what the modules did that they stand for.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import nn
from torch.nn import functional

_PICTURE = 4
"""From so many dimensions on a tensor holds pictures; what tells of the step has two, or three with a video's frames."""
_FORMATS = (torch.float32, torch.float16, torch.bfloat16)
_BLOCKS = (ResnetBlock2D, TemporalResnetBlock)
"""They put what both of their norms give, and what tells of the step, through ``nonlinearity``."""
_WHOLES = (Encoder, Decoder, TemporalDecoder, UNet2DConditionModel, UNetSpatioTemporalConditionModel)
"""They put what ``conv_norm_out`` gives through ``conv_act``, and nothing else."""
_TRANSFORMERS = (Transformer2DModel, TransformerSpatioTemporalModel)
"""They give their pictures back by channel, however they were given."""


class FusedGroupNorm(nn.GroupNorm):  # type: ignore[misc] # torch's types are not read
    """Stands for `norm`, and for SiLU after it when `activated`; takes [pictures, channels, ...] and gives the same layout."""

    def __init__(self, norm: Any, *, activated: bool = False) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, affine=False)
        self.weight, self.bias = norm.weight, norm.bias
        self.activated = activated
        self.train(norm.training)

    def forward(self, input: Any) -> Any:  # noqa: A002 - the name that it has in torch
        """The tensor normalised, scaled, shifted, and activated where that is asked for."""
        if input.device.type == "cuda" and input.dtype == self.weight.dtype and input.dtype in _FORMATS:
            from stoker_worker.engine.speed.norm_kernels import group_norm  # noqa: PLC0415 - Triton is only there with a card

            return group_norm(input, self.num_groups, self.weight, self.bias, self.eps, activated=self.activated)
        normed = super().forward(input)
        return functional.silu(normed) if self.activated else normed


class StepActivation(nn.Module):  # type: ignore[misc] # as above
    """SiLU in a block whose norms activate their pictures themselves: what tells of the step still needs it."""

    def forward(self, given: Any) -> Any:
        """Pictures as they are, anything else through SiLU."""
        return given if given.dim() >= _PICTURE else functional.silu(given)


def fuse(module: Any) -> int:
    """Put our norms where `module` has group norms with weights; returns how many. To be called before calls are recorded."""
    fused = 0
    activated = set(_activated(module))
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.GroupNorm and child.affine:
                setattr(parent, name, FusedGroupNorm(child, activated=child in activated))
                fused += 1
    return fused


def keep_by_pixel(module: Any) -> None:
    """Let `module`'s transformers give back pictures that lie by pixel, as the convolutions around them read and write them."""
    for each in module.modules():
        if type(each) in _TRANSFORMERS:
            each.forward = _by_pixel(each.forward)


def try_out(device: str) -> None:
    """Normalise a small picture, so that what keeps the kernels from running shows before the first job. Raises what they raise."""
    norm = FusedGroupNorm(nn.GroupNorm(2, 8, device=device), activated=True)
    with torch.inference_mode():
        norm(torch.zeros(1, 8, 4, 4, device=device).contiguous(memory_format=torch.channels_last))


def _activated(module: Any) -> Iterator[Any]:
    """The norms whose SiLU is theirs from now on; what computed it is replaced on the way."""
    for each in list(module.modules()):
        if type(each) in _BLOCKS and type(each.nonlinearity) is nn.SiLU:
            # By "scale_shift" the second norm's result is scaled before it is activated.
            if getattr(each, "time_embedding_norm", "default") != "scale_shift":
                each.nonlinearity = StepActivation()
                yield from (each.norm1, each.norm2)
        elif isinstance(each, _WHOLES) and type(each.conv_norm_out) is nn.GroupNorm and type(each.conv_act) is nn.SiLU:
            each.conv_act = nn.Identity()
            yield each.conv_norm_out


def _by_pixel(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def laid_out(*positional: Any, **named: Any) -> Any:
        result = forward(*positional, **named)
        # Blocks ask for a tuple. What asks for an object gets it as it is: only its layout differs.
        if not isinstance(result, tuple):
            return result
        return (result[0].contiguous(memory_format=torch.channels_last), *result[1:])

    return laid_out
