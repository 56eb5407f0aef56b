"""cuDNN's attention is asked first where it is wanted, and the process is left as it was."""

from typing import Any

import pytest
import torch

from stoker_worker.engine.speed.attention import cudnn_first, order, preferring_cudnn

pytestmark = pytest.mark.torch


def test_cudnn_comes_first_and_the_others_keep_their_order() -> None:
    assert cudnn_first(["FLASH_ATTENTION", "MATH", "CUDNN_ATTENTION"]) == ["CUDNN_ATTENTION", "FLASH_ATTENTION", "MATH"]


def test_torch_follows_the_order_and_has_its_own_again_afterwards() -> None:
    before = order(torch)
    with preferring_cudnn(torch) as wanted:
        within = order(torch)
    after = order(torch)

    assert within == wanted == cudnn_first(before)
    assert before == after
    assert before[0] != "CUDNN_ATTENTION"


def test_no_kernel_is_lost() -> None:
    with preferring_cudnn(torch) as wanted:
        enabled = [
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.cudnn_sdp_enabled(),
        ]

    assert sorted(wanted) == sorted(order(torch))
    assert all(enabled)


def test_attention_is_the_same_where_there_is_no_card() -> None:
    def attend() -> Any:
        made = torch.Generator().manual_seed(0)
        query, key, value = (torch.randn(1, 2, 8, 4, generator=made) for _ in range(3))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value)

    with preferring_cudnn(torch):
        preferred = attend()

    assert torch.equal(preferred, attend())
