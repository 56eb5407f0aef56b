"""The followers of a leader: who may come, what they hold, and when all that is in use is known."""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable

from stoker_orchestrator.app.desk import LocalDesk, Slot
from stoker_orchestrator.app.peers.follower import Follower
from stoker_orchestrator.app.peers.messages import LANGUAGE, Goodbye, Hello, Loaded, Message, Succeeded, Unwelcome, Welcome
from stoker_orchestrator.app.peers.wire import Wire
from stoker_orchestrator.domain.election import Candidate
from stoker_orchestrator.domain.following import load_of
from stoker_orchestrator.domain.switchboard import Switchboard

log = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""A new leader waits so long for the followers of the old one to say which slots they use."""
COME_BACK_SECONDS = 1.0
"""A follower whose connection broke keeps its slots so long, lest they are given out twice."""


class Followers:
    """Takes connections all the time, and jobs while this process leads. `succeeded` is told when another one has taken over."""

    def __init__(self, me: Candidate, local: LocalDesk, board: Switchboard, succeeded: Callable[[Candidate], None]) -> None:
        self._me = me
        self._local = local
        self._board = board
        self._succeeded = succeeded
        self._leading = False
        self._linked: dict[str, Follower] = {}
        self._absent: dict[str, list[Slot]] = {}
        self._awaited: set[str] | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._wires: set[Wire] = set()
        self._closed = False

    @property
    def identities(self) -> list[str]:
        """Who is linked."""
        return sorted(self._linked)

    def lead(self, awaited: set[str] | None) -> None:
        """Take jobs. Slots are given out once the `awaited` ones have said which they use, or do not come in time.

        None: nobody knows who they are, so that the time is waited for.
        """
        self._leading = True
        self._awaited = awaited
        if awaited is not None and not awaited:
            asyncio.get_running_loop().call_soon(self._settle)  # after this process's own jobs have asked again
        else:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle)

    def cease(self) -> None:
        """Take no more jobs; all followers are told."""
        self._leading = False
        if self._settling is not None:
            self._settling.cancel()
        for follower in self._linked.values():
            follower.wire.send(Goodbye())
            self._give_back(follower.end())
        self._linked.clear()
        for identity in list(self._absent):
            self._give_back(self._absent.pop(identity))

    def close(self) -> None:
        """Hang up, from now on also on who is still coming: a follower must not be kept by a process that ends."""
        self._closed = True
        for wire in list(self._wires):
            wire.close()

    def tell(self, loaded: Loaded) -> None:
        """Tell all followers how busy everything is."""
        for follower in self._linked.values():
            follower.wire.send(loaded)

    def accept(self, wire: Wire) -> None:
        """Somebody has connected."""
        if self._closed:
            wire.abort()
            return
        self._wires.add(wire)
        wire.hear = lambda message: self._greet(wire, message)
        wire.ended.add_done_callback(lambda _: self._wires.discard(wire))

    def _greet(self, wire: Wire, message: Message) -> None:
        if not isinstance(message, Hello):
            wire.abort()
            return
        reason = self._objection(message)
        if reason is None:
            self._welcome(wire, message.identity)
        else:
            wire.send(Unwelcome(self._me.identity, reason))
            wire.close()

    def _objection(self, hello: Hello) -> str | None:
        if hello.holder != self._me.identity:
            return "another_process"
        if not hmac.compare_digest(hello.token.encode(), self._me.token.encode()):
            return "token"
        if hello.language != LANGUAGE:
            return "language"
        return None if self._leading else "not_leading"

    def _welcome(self, wire: Wire, identity: str) -> None:
        before = self._linked.get(identity)
        if before is not None:
            self._gone(before)
            before.wire.abort()
        follower = Follower(identity, wire, self._local, self._board.registry, lambda: self._settled(identity))
        self._linked[identity] = follower
        wire.hear = lambda message: self._hear(follower, message)
        wire.ended.add_done_callback(lambda _: self._gone(follower))
        wire.send(Welcome())
        self.tell(Loaded(load_of(self._board, time.monotonic()).wire(), self.identities))
        log.info("%s asks here for slots", identity)

    def _hear(self, follower: Follower, message: Message) -> None:
        if isinstance(message, Succeeded):
            self._succeeded(Candidate(message.identity, message.address, message.token))
        elif self._linked.get(follower.identity) is follower:
            follower.hear(message)

    def _settled(self, identity: str) -> None:
        """A follower has said what it has; the slots of its earlier connection are among those."""
        self._give_back(self._absent.pop(identity, []))
        if self._awaited is not None:
            self._awaited.discard(identity)
            if not self._awaited:
                self._settle()

    def _gone(self, follower: Follower) -> None:
        if self._linked.get(follower.identity) is not follower:
            return
        del self._linked[follower.identity]
        slots = follower.end()
        if slots:
            self._absent.setdefault(follower.identity, []).extend(slots)
            asyncio.get_running_loop().call_later(COME_BACK_SECONDS, self._forget, follower.identity, slots)

    def _forget(self, identity: str, slots: list[Slot]) -> None:
        """A follower has not come back."""
        absent = self._absent.pop(identity, [])
        left = [slot for slot in absent if slot not in slots]
        if left:
            self._absent[identity] = left
        self._give_back([slot for slot in slots if slot in absent])

    def _give_back(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.desk.give_back(slot)

    def _settle(self) -> None:
        """All that is in use is known, as far as it can be."""
        if self._settling is not None:
            self._settling.cancel()
        if self._leading and self._board.paused:
            self._local.do(self._board.resume(time.monotonic()))
