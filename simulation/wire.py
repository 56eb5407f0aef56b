"""The Lease, and the connections between orchestrators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulation.heap import Heap
from stoker_orchestrator.domain.election import Seen, Write

if TYPE_CHECKING:
    from simulation.peer import Peer

_LATENCY_SECONDS = (0.0002, 0.003)


class Office:
    """Where candidates meet: the Lease, and who can be reached."""

    def __init__(self, heap: Heap) -> None:
        self.heap = heap
        self.lease = Seen()
        self.peers: dict[str, Peer] = {}
        """Those that run, by identity."""
        self.generations = 0
        self._writes = 0

    def write(self, wish: Write) -> Seen | None:
        """The Lease after a write; None where it had another version than the write named."""
        if wish.version != self.lease.version:
            return None
        self._writes += 1
        self.lease = Seen(wish.holder, str(self._writes), wish.changes, str(self._writes))
        return self.lease

    def in_pod(self, pod: str) -> Peer | None:
        """The process that runs in a pod now."""
        return next((peer for peer in self.peers.values() if peer.pod == pod), None)


class Wire:
    """One connection. What is sent arrives in order while the other end lives; a closed one brings what was sent before."""

    def __init__(self, heap: Heap, follower: Peer, leader: Peer) -> None:
        self.follower = follower
        self.leader = leader
        self.open = True
        self._heap = heap
        self._arrives = {id(follower): 0.0, id(leader): 0.0}

    def send(self, receiver: Peer, act: Callable[..., None], *given: Any) -> None:
        """Let the receiver do something when the message arrives."""
        if self.open:
            self._deliver(receiver, act, given)

    def close(self, by: Peer) -> None:
        """One end hangs up, or is no more; the other one notices."""
        if self.open:
            self.open = False
            other = self.leader if by is self.follower else self.follower
            self._deliver(other, other.hung_up, (self,))

    def _deliver(self, receiver: Peer, act: Callable[..., None], given: tuple[Any, ...]) -> None:
        arrives = max(self._arrives[id(receiver)], self._heap.now + self._heap.chance.uniform(*_LATENCY_SECONDS))
        self._arrives[id(receiver)] = arrives
        self._heap.at(arrives, self._arrive, receiver, act, given)

    def _arrive(self, receiver: Peer, act: Callable[..., None], given: tuple[Any, ...]) -> None:
        if receiver.running:
            act(*given)
