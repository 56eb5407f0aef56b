"""A VAE in two precisions that are made once."""

from typing import Any

import pytest
import torch
from torch import nn

from stoker_worker.engine.speed.precisions import Precisions

pytestmark = pytest.mark.torch


class Half(nn.Module):  # type: ignore[misc] # torch's types are not read
    """A VAE as pipelines see it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))

    config = type("Config", (), {"force_upcast": True})()

    @property
    def dtype(self) -> torch.dtype:
        return self.layers[0].weight.dtype


def test_a_vae_that_is_turned_to_float32_and_back_keeps_its_numbers_and_places() -> None:
    stock, ours = Half().half(), Half().half()
    turned = Precisions(torch, ours)
    places: dict[Any, set[int]] = {torch.float16: set(), torch.float32: set()}
    for _ in range(3):
        for dtype in (torch.float32, torch.float16):
            ours.to(dtype=dtype)
            stock.to(dtype=dtype)
            places[dtype].add(next(ours.parameters()).data_ptr())
            assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), stock.parameters(), strict=True))

    assert {dtype: len(seen) for dtype, seen in places.items()} == {torch.float16: 1, torch.float32: 1}
    turned.forget()
    ours.to("cpu", torch.float32)
    assert ours.dtype == torch.float32


def test_only_a_half_vae_that_overflows_is_turned() -> None:
    calm = Half().half()
    calm.config = type("Config", (), {"force_upcast": False})()

    assert [Precisions.turned_in_each_call(torch, vae) for vae in (Half().half(), Half(), calm)] == [True, False, False]
