"""Which attention kernel torch tries first.

``scaled_dot_product_attention`` takes the first kernel of a list that can do the call. torch puts cuDNN's last on cards where it is
the fastest of those that torch brings, so with the switch ``cudnn-attention`` it is put first and the others keep their order.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

_CUDNN = "CUDNN_ATTENTION"


def order(torch: Any) -> list[str]:
    """The kernels in the order in which the installed torch tries them now; it differs between builds."""
    kinds = {int(kind): name for name, kind in torch.nn.attention.SDPBackend.__members__.items()}
    return [kinds[number] for number in torch._C._get_sdp_priority_order() if number in kinds]  # noqa: SLF001 - there is no other way to ask


def cudnn_first(names: Sequence[str]) -> list[str]:
    """The same kernels with cuDNN's in front."""
    return [_CUDNN, *(name for name in names if name != _CUDNN)]


@contextmanager
def preferring_cudnn(torch: Any) -> Iterator[list[str]]:
    """Try cuDNN's attention first, in every thread of the process; yields the order in force.

    The order is the process's: who enters this in two threads at once must leave in the opposite order.
    """
    wanted = cudnn_first(order(torch))
    kinds = torch.nn.attention.SDPBackend.__members__
    with torch.nn.attention.sdpa_kernel([kinds[name] for name in wanted], set_priority=True):
        log.info("attention is tried in this order: %s", ", ".join(wanted))
        yield wanted
