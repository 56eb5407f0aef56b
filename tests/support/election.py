"""A Lease as an API server keeps it, and candidates for it in a world where everything breaks, in virtual time."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from stoker_orchestrator.domain.election import Call, Candidate, Effect, Election, Evidence, Read, Seen, Write


class Lease:
    """One Lease as an API server keeps it."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._versions = itertools.count(1)

    def call(self, call: Call) -> Seen | None:
        """None: the version is another one."""
        if isinstance(call, Read):
            return self.seen
        if call.version != self.seen.version:
            return None
        version = str(next(self._versions))
        self.seen = Seen(call.holder, version, call.changes, version)
        return self.seen


@dataclass
class Node:
    election: Election
    alive: bool = True
    frozen_until: float = 0.0
    history: list[tuple[float, Effect]] = field(default_factory=list)


class Chaos:
    """Several candidates and one Lease in virtual time: calls take time, fail, or lose their answers; processes end and freeze."""

    def __init__(self, seed: int, count: int, *, quiet_from: float, evidence: bool) -> None:
        self.random = random.Random(seed)  # noqa: S311 - chance decides what breaks, it keeps no secret
        self.lease = Lease()
        self.nodes = [Node(Election(Candidate(f"{name}/1", "", ""))) for name in "abcd"[:count]]
        self.quiet_from, self.evidence = quiet_from, evidence
        self.away_until = self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        for node in self.nodes:
            self._every(0.05, partial(self._tick, node))
            self._every(0.5, partial(self._watch, node))
        self._every(1.0, self._mischief)

    def run(self, end: float, check: Callable[[], None]) -> None:
        while self._events[0][0] < end:
            self.now, _, act = heapq.heappop(self._events)
            act()
            check()

    def _tick(self, node: Node) -> None:
        self._do(node, node.election.tick(self.now) if node.alive and self.now >= node.frozen_until else [])

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), act))

    def _every(self, seconds: float, act: Callable[[], None]) -> None:
        def again() -> None:
            act()
            self._every(seconds, act)

        self._at(self.now + seconds, again)

    def _do(self, node: Node, effects: list[Effect]) -> None:
        if not node.alive or self.now < node.frozen_until:
            if effects:  # it was frozen in the middle of it
                self._at(node.frozen_until, lambda: self._do(node, effects)) if node.alive else None
            return
        for effect in effects:
            if isinstance(effect, Read | Write):
                self._call(node, effect)
            else:
                node.history.append((self.now, effect))

    def _call(self, node: Node, call: Call) -> None:
        noisy = self.now < self.quiet_from
        there, back = (self._delay() if noisy else 0.01 for _ in range(2))
        lost = noisy and self.random.random() < 0.1

        def arrive() -> None:
            failed = self.now < self.away_until or lost
            seen = None if failed and self.random.random() < 0.5 else self.lease.call(call)
            self._at(self.now + back, lambda: self._do(node, self._told(node, call, seen, failed=failed)))

        self._at(self.now + there, arrive)

    def _delay(self) -> float:
        return self.random.expovariate(1 / 0.2) if self.random.random() < 0.8 else self.random.uniform(1, 9)

    def _told(self, node: Node, call: Call, seen: Seen | None, *, failed: bool) -> list[Effect]:
        if self.now < node.frozen_until:
            self._at(node.frozen_until, lambda: self._do(node, self._told(node, call, seen, failed=failed)))
            return []
        if failed:
            return node.election.away(self.now)
        if seen is None:
            return node.election.conflicted()
        return node.election.read(seen, self.now) if isinstance(call, Read) else node.election.wrote(seen, self.now)

    def _watch(self, node: Node) -> None:
        """What the link to its leader tells a follower."""
        leader = node.election.leader
        if leader is None or node.election.leading or not self.evidence:
            return
        other = next(each for each in self.nodes if each.election.me.identity == leader.identity)
        if not other.alive:
            self._do(node, node.election.doubt(leader.identity, Evidence.GONE, self.now))
        elif self.now < other.frozen_until or (self.now < self.quiet_from and self.random.random() < 0.2):
            self._do(node, node.election.doubt(leader.identity, Evidence.SILENT, self.now))
        else:
            node.election.trust(leader.identity)

    def _mischief(self) -> None:
        if self.now >= self.quiet_from:
            return
        chance, node = self.random.random(), self.random.choice(self.nodes)
        if chance < 0.05:
            self.away_until = self.now + self.random.uniform(1, 25)
        elif chance < 0.1 and sum(each.alive for each in self.nodes) > 1:
            node.alive = False
        elif chance < 0.15:
            node.frozen_until = self.now + self.random.uniform(1, 15)

    def leaders(self) -> list[Node]:
        return [node for node in self.nodes if node.alive and node.election.leading]
