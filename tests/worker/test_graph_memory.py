"""Recorded calls where memory is short: what they hold goes back, and the call itself goes on."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tests.support.recorder import FakeRecorder
from tests.worker.test_graphs import alike, noise, rig

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


class Full(FakeRecorder):
    """A device that has no memory for further recordings after so many."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def record(self, body: Callable[[], Any]) -> Any:
        if self.recorded == self._room:
            message = "out of memory"
            raise torch.OutOfMemoryError(message)
        return super().record(body)


def test_a_recording_that_finds_no_memory_frees_those_that_hold_some_and_the_call_goes_on() -> None:
    rigged = rig(device=Full(1))
    for rows in (1, 1, 2):
        rigged.call(noise(rows), torch.tensor(1))
    held, renewed = rigged.graphs.count, rigged.device.renewed

    made = rigged.call(noise(2), torch.tensor(1))

    assert alike(made.values(), rigged.eager(noise(2), torch.tensor(1)).values())
    assert (held, rigged.graphs.count) == (1, 0)
    assert rigged.device.renewed > renewed
    assert rigged.decided == {"replayed": 1, "unrecordable": 1}


def test_what_was_found_not_worth_a_recording_is_not_recorded_again_after_memory_was_short() -> None:
    rigged = rig(device=FakeRecorder(launch=1.02e-6, kernel=1e-6))
    for _ in range(3):
        rigged.call(noise(), torch.tensor(1))
    recorded = rigged.device.recorded
    rigged.graphs.free()
    for _ in range(3):
        rigged.call(noise(), torch.tensor(1))

    assert (rigged.decided, rigged.device.recorded) == ({"no_gain": 1}, recorded)


def test_memory_of_a_recording_that_is_not_kept_goes_back_while_no_other_shares_it() -> None:
    alone = rig(device=FakeRecorder(launch=1.02e-6, kernel=1e-6))
    shared = rig()
    for rigged in (alone, shared):
        for _ in range(2):
            rigged.call(noise(), torch.tensor(1))

    assert (alone.device.renewed, shared.device.renewed) == (1, 0)
