"""Weights that leave their device and come back."""

import logging
from typing import Any

import pytest

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start import parking as parking_module
from stoker_worker.engine.start.parking import Parking, ParkingPlace

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")


class Host:
    """Room in the host's memory, and how many places were taken of it. The device is the CPU too: copies tell them apart."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.taken: list[Any] = []

    def store(self, tensor: Any) -> Any:
        if len(self.taken) == self.room:
            message = "no memory"
            raise RuntimeError(message)
        self.taken.append(torch.empty_like(tensor))
        return self.taken[-1]

    def holds(self, tensor: Any) -> bool:
        return any(tensor.data_ptr() == place.data_ptr() for place in self.taken)


@pytest.fixture
def module() -> Any:
    """A layer with weights, a bias and two buffers."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4, track_running_stats=True)).eval()


def found(module: Any) -> list[Any]:
    return [*module.parameters(), *module.buffers()]


def parking(module: Any, host: Host) -> Parking:
    return Parking(torch, lambda: found(module), "cpu", host.store)


def test_parked_weights_lie_with_the_host_and_come_back_as_they_were(module: Any) -> None:
    host, given = Host(), torch.ones(2, 4)
    place = parking(module, host)
    before = module(given)

    place.park()
    assert all(host.holds(tensor) for tensor in found(module))
    place.unpark()

    assert not any(host.holds(tensor) for tensor in found(module))
    assert torch.equal(module(given), before)


def test_places_on_the_host_are_taken_once(module: Any) -> None:
    host = Host()
    place = parking(module, host)
    for _ in range(3):
        place.park()
        place.unpark()

    assert len(host.taken) == len(found(module))


def test_a_tensor_that_was_replaced_or_has_another_format_is_copied_anew(module: Any) -> None:
    host = Host()
    place = parking(module, host)
    place.park()
    place.unpark()
    module[0].weight.data = module[0].weight.data.double()
    module[1].running_mean = torch.full((4,), 7.0)
    before = len(host.taken)

    place.park()
    place.unpark()

    assert len(host.taken) == before + 2
    assert module[0].weight.dtype is torch.float64
    assert module[1].running_mean.tolist() == [7.0] * 4


def test_a_host_without_room_leaves_the_weights_where_they_are(module: Any) -> None:
    host = Host(room=2)
    places = [tensor.data_ptr() for tensor in found(module)]

    with pytest.raises(RuntimeError):
        parking(module, host).park()

    assert [tensor.data_ptr() for tensor in found(module)] == places


def test_a_card_that_others_have_filled_meanwhile_is_the_workers_end(module: Any) -> None:
    class Full:
        """A host's copy that the card has no room for."""

        def __init__(self, tensor: Any) -> None:
            self._tensor = tensor

        def to(self, *_: object, **__: object) -> Any:
            raise torch.OutOfMemoryError

    place = parking(module, Host())
    place.park()
    place._parked = [(tensor, Full(copy)) for tensor, copy in place._parked]

    with pytest.raises(FatalEngineError, match="no room left") as lost:
        place.unpark()

    assert lost.value.reason is ExitReason.OUT_OF_MEMORY


class Pipe:
    """A pipeline of one module."""

    def __init__(self, module: Any) -> None:
        self.components = {"unet": module, "scheduler": None}


def test_a_host_without_room_says_so_once(module: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(parking_module, "free_bytes", lambda: 0)
    place = ParkingPlace(Pipe(module), torch, "cuda")

    assert [place.park() for _ in range(3)] == [False] * 3
    assert len(caplog.messages) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this host can give pinned memory")
def test_a_host_that_gives_no_pinned_memory_is_asked_once(
    module: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(parking_module, "free_bytes", lambda: 2**40)
    place = ParkingPlace(Pipe(module), torch, "cuda")

    assert [place.park() for _ in range(3)] == [False] * 3
    assert caplog.messages == ["the host gave no memory to park the weights in; they stay on the card"]


def test_there_is_nothing_to_park_without_a_card(module: Any) -> None:
    place = ParkingPlace(Pipe(module), torch, "cpu")

    assert place.park() is False
    place.unpark()
