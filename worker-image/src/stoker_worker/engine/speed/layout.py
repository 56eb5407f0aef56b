"""Where the numbers of a convolution's weights lie."""

from typing import Any

_FLAT = 4
"""Dimensions of the weights of a convolution over height and width."""


def lay_out_by_pixel(torch: Any, module: Any) -> None:
    """Let the weights of `module`'s convolutions over height and width lie by pixel, as tensor cores read them.

    Those that go over time as well have no layout of this kind.
    """
    for parameter in module.parameters():
        if parameter.dim() == _FLAT:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
