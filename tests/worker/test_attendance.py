"""Rows that leave a running batch, without a model: a call that adds up numbers row by row."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine.families import family_of
from stoker_worker.engine.protocol import CancelledError
from stoker_worker.engine.rows.attendance import Attendance
from stoker_worker.engine.rows.batch import row_tensors

ROWS = 5
STEPS = 4


class Callers:
    """Who is gone after each step."""

    def __init__(self, *gone: set[int]) -> None:
        self._gone = iter(gone)

    def stepped(self) -> frozenset[int]:
        return frozenset(next(self._gone, set()))


def call(attendance: Attendance) -> Any:
    """What a pipeline does, in small: with guidance, a scheduler with a memory, and noise from each row's own generator."""
    scheduler = SimpleNamespace(last=None, outputs=[None, None], sigmas=np.arange(9.0), name="multistep")
    pipe = SimpleNamespace(scheduler=scheduler)
    latents = np.zeros((ROWS, 3))
    embeds = np.concatenate([-np.arange(ROWS), np.arange(ROWS)])[:, None] * np.ones(3)
    for index in range(STEPS):
        without, given = np.split(embeds, 2)
        noise = np.stack([generator.random(3) for generator in attendance.generators])
        scheduler.outputs = [scheduler.outputs[-1], given - 2 * without + noise]
        older = 0 if scheduler.outputs[0] is None else scheduler.outputs[0]
        latents = latents + scheduler.outputs[-1] + older + (0 if scheduler.last is None else scheduler.last)
        scheduler.last = latents * 2
        out = attendance.after_step(pipe, index, None, {"latents": latents, "embeds": embeds})
        latents, embeds = out["latents"], out["embeds"]
    return latents


def attendance(callers: Callers, row_tensors: tuple[str, ...] | None = ("embeds",)) -> Attendance:
    return Attendance(callers, [np.random.default_rng(seed) for seed in range(ROWS)], row_tensors)


def test_those_who_stay_are_what_they_would_have_been() -> None:
    whole = call(attendance(Callers()))
    some = attendance(Callers({1}, {1}, {1, 0, 4}))
    left = call(some)

    assert some.computed == [2, 3]
    assert np.array_equal(left, whole[[2, 3]])


def test_who_is_told_once_as_gone_stays_gone() -> None:
    some = attendance(Callers({1}, {3}, set()))
    call(some)

    assert some.gone == {1, 3}
    assert some.computed == [0, 2, 4]


def test_nothing_is_taken_out_of_a_call_that_does_not_hand_out_all_of_a_row() -> None:
    some = attendance(Callers({1}, {1, 2}), None)
    left = call(some)

    assert np.array_equal(left, call(attendance(Callers())))
    assert some.computed == list(range(ROWS))
    assert some.gone == {1, 2}
    assert some.tensors == ["latents"]


@pytest.mark.parametrize("row_tensors", [None, ("embeds",)])
def test_a_call_without_callers_ends(row_tensors: tuple[str, ...] | None) -> None:
    with pytest.raises(CancelledError):
        call(attendance(Callers({0, 1}, {2, 3}, {4}), row_tensors))


class StableDiffusionPipeline:
    """Like diffusers' class of this name, as far as leaving goes."""

    def __init__(self, *, embeds_guidance: bool = False, shares_noise: bool = False) -> None:
        self.unet = SimpleNamespace(config={"time_cond_proj_dim": 256 if embeds_guidance else None})
        self.scheduler = SimpleNamespace(noise_sampler=None) if shares_noise else SimpleNamespace()


def test_rows_stay_where_something_of_them_would_be_left_behind() -> None:
    family = family_of("", Pipeline.TEXT_TO_IMAGE, "StableDiffusionPipeline")
    pipes = [StableDiffusionPipeline(), StableDiffusionPipeline(embeds_guidance=True), StableDiffusionPipeline(shares_noise=True)]

    assert [row_tensors(pipe, family) for pipe in pipes] == [("prompt_embeds",), None, None]
    assert row_tensors(SimpleNamespace(scheduler=None), family) is None
