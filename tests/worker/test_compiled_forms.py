"""Which forms of calls the compiler is asked for, and with what it is given them. It is played by a function."""

import contextlib
from typing import Any

import pytest
import torch

from stoker_worker.engine.speed.compile_cache import NoStore
from stoker_worker.engine.speed.compiling import AGAIN_AFTER, Compiled
from tests.worker.test_compiling import Denoiser, later

pytestmark = pytest.mark.torch


def test_only_so_many_forms_are_compiled() -> None:
    denoiser, asked = Denoiser(), []
    compiled = Compiled(torch, denoiser.forward, lambda *given, **_named: asked.append(len(given[0])), NoStore(),
                        contextlib.nullcontext(), later)  # fmt: skip
    with torch.inference_mode():
        for rows in range(1, 20):
            compiled(torch.ones(rows, 8), torch.tensor(1))
    for _ in range(8):
        compiled.compile_next()

    assert asked == list(range(1, 9))
    assert compiled._asked.empty()


def test_what_found_no_memory_is_asked_for_again_some_batches_later(caplog: pytest.LogCaptureFixture) -> None:
    denoiser, full = Denoiser(), [RuntimeError("CUDA out of memory")]

    def code(*given: Any, **named: Any) -> Any:
        if full:
            raise full.pop()
        return denoiser.forward(*given, **named)

    compiled = Compiled(torch, denoiser.forward, code, NoStore(), contextlib.nullcontext(), later)
    with torch.inference_mode():
        compiled(torch.ones(2, 8), torch.tensor(1))
        compiled.compile_next()
        asked = []
        for _ in range(AGAIN_AFTER + 1):
            assert not compiled.adopt()
            compiled(torch.ones(2, 8), torch.tensor(1))
            asked.append(not compiled._asked.empty())
    assert asked == [False] * AGAIN_AFTER + [True]
    compiled.compile_next()

    assert compiled.adopt()
    assert "finds no memory" not in caplog.text, "nobody needs to look at it"


def test_made_up_inputs_have_the_form_of_the_real_ones() -> None:
    seen: list[Any] = []
    compiled = Compiled(torch, lambda *_given, **_named: None, lambda *given, **named: seen.append((given, named)), NoStore(),
                        contextlib.nullcontext(), later)  # fmt: skip
    with torch.inference_mode():
        real = (torch.ones(4, 8).t(), torch.tensor(7).expand(3)), {"extra": {"ids": torch.ones(2, dtype=torch.long)}, "scale": 2}
        compiled(*real[0], **real[1])
    compiled.compile_next()
    (((sample, steps), named),) = seen

    assert [(each.shape, each.stride(), each.dtype) for each in (sample, steps)] == [
        (each.shape, each.stride(), each.dtype) for each in real[0]
    ]  # fmt: skip
    assert named["scale"] == 2
    assert named["extra"]["ids"].dtype == torch.long
    assert torch.isfinite(sample).all()
