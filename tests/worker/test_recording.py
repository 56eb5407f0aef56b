"""Recordings on a card that the CPU plays, with the rules of CUDA and of torch's allocator."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stoker_worker.engine.speed.recording import CudaRecorder


class Card:
    """torch with a card.

    What cannot be recorded spoils a recording, which then cannot be ended. A pool that has lost its last recording takes no
    further one. Allocator and random numbers are free again only as torch frees them.
    """

    def __init__(self) -> None:
        self.cuda = self._C = self
        self.current: Any = "the model's"
        self.allocating: set[int] = set()
        self.random_in_recording = False
        self.pools: dict[int, int] = {}
        self.dead: set[int] = set()
        self.spoilt = False
        self.full = False

    def Stream(self) -> str:  # noqa: N802 - as torch has it
        return "the recorder's"

    def CUDAGraph(self) -> "Graph":  # noqa: N802 - as above
        return Graph(self)

    def graph_pool_handle(self) -> int:
        return len(self.pools) + len(self.dead) + 1

    @contextlib.contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def zeros(self, *_: Any, **__: Any) -> None:
        if self.full:
            message = "out of memory"
            raise RuntimeError(message)

    def synchronize(self) -> None:
        """Nothing runs."""

    def empty_cache(self) -> None:
        """Nothing is kept."""

    def current_device(self) -> int:
        return 0

    def _cuda_endAllocateToPool(self, _card: int, pool: int) -> None:  # noqa: N802 - as torch has it
        self.allocating.discard(pool)

    def look(self) -> None:
        """What cannot be recorded."""
        self.spoilt = True
        message = "operation not permitted when stream is capturing"
        raise RuntimeError(message)


class Graph:
    """A recording."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.pool = 0

    def capture_begin(self, pool: int, capture_error_mode: str) -> None:
        assert (capture_error_mode, self.card.current) == ("thread_local", "the recorder's")
        if pool in self.card.dead or pool in self.card.allocating:
            message = "INTERNAL ASSERT FAILED"
            raise RuntimeError(message)
        self.pool, self.card.spoilt = pool, False
        self.card.pools[pool] = self.card.pools.get(pool, 0) + 1
        self.card.allocating.add(pool)
        self.card.random_in_recording = True

    def capture_end(self) -> None:
        if self.card.spoilt:
            message = "operation failed due to a previous error during capture"
            raise RuntimeError(message)
        self.card.allocating.discard(self.pool)
        self.card.random_in_recording = False

    def __del__(self) -> None:
        if self.pool:
            self.card.pools[self.pool] -= 1
            if not self.card.pools[self.pool]:
                del self.card.pools[self.pool]
                self.card.dead.add(self.pool)


Record = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def card() -> Card:
    return Card()


@pytest.fixture
def record(card: Card) -> Record:
    return CudaRecorder(card).record


def fails(record: Record, body: Callable[[], Any], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        record(body)


def test_a_recording_that_is_not_kept_leaves_room_for_the_next_one(record: Record) -> None:
    assert [record(made)[1] for made in (lambda: 0, lambda: 1, lambda: 2)] == [0, 1, 2]


def test_after_a_recording_that_failed_all_is_as_before(card: Card, record: Record) -> None:
    graph: Any = record(lambda: 1)[0]
    fails(record, card.look, "not permitted")

    assert (card.current, card.allocating, card.random_in_recording) == ("the model's", set(), False)
    assert record(lambda: 2)[1] == 2
    assert graph.pool in card.pools, "recordings that are held keep their memory"


def test_a_card_that_is_full_refuses_a_recording_and_takes_the_next_one(card: Card, record: Record) -> None:
    card.full = True
    fails(record, lambda: 1, "out of memory")
    card.full = False

    assert card.allocating == set()
    assert record(lambda: 3)[1] == 3


def test_a_pool_goes_with_its_recordings(card: Card) -> None:
    recorder = CudaRecorder(card)
    graph: Any = recorder.record(lambda: 1)[0]
    first = graph.pool
    del graph
    recorder.renew()
    other: Any = recorder.record(lambda: 1)[0]

    assert first in card.dead
    assert other.pool != first
