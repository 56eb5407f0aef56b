"""The follower's side of the link: connect to the leader, move the desk there, and notice what has become of the leader."""

import asyncio
import logging
import time
from collections.abc import Callable

from stoker_orchestrator.app.peers.desk import SwitchingDesk
from stoker_orchestrator.app.peers.messages import (
    LANGUAGE,
    Goodbye,
    Hello,
    Loaded,
    Message,
    Settled,
    Succeeded,
    Unwelcome,
    Welcome,
)
from stoker_orchestrator.app.peers.remote import RemoteDesk
from stoker_orchestrator.app.peers.wire import SILENT_SECONDS, Wire
from stoker_orchestrator.domain.election import Candidate, Evidence
from stoker_orchestrator.domain.following import follow, unfollow
from stoker_orchestrator.domain.load import Load
from stoker_orchestrator.domain.switchboard import Switchboard

log = logging.getLogger(__name__)

CONNECT_SECONDS = 1.0
AGAIN_SECONDS = 0.2
"""Between two attempts to connect."""


class Link:
    """Follows one leader at a time.

    `doubt` is told what speaks against the leader, None where it speaks for itself; `look` is called when the Lease may have
    changed, `dismissed` when the leader gives up the lead.
    """

    def __init__(
        self,
        me: Candidate,
        desk: SwitchingDesk,
        board: Switchboard,
        doubt: Callable[[str, Evidence | None], None],
        look: Callable[[], None],
        dismissed: Callable[[], None],
    ) -> None:
        self.peers: set[str] | None = None
        """Who else follows the leader, or followed it last; None while nothing is known of that."""
        self._me = me
        self._desk = desk
        self._board = board
        self._doubt = doubt
        self._look = look
        self._dismissed = dismissed
        self._leader: Candidate | None = None
        self._reached = False
        """Whether the leader has ever answered: where not, a refused connection tells as little as a closed way."""
        self._wire: Wire | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def linked(self) -> bool:
        """Whether the leader counts this process's slots."""
        return self._desk.current is not self._desk.local

    def follow(self, leader: Candidate) -> None:
        """Ask this leader for slots from now on."""
        self.leave()
        self._leader, self._reached = leader, False
        self._following = asyncio.create_task(self._follow(leader))

    def leave(self, successor: Candidate | None = None) -> str | None:
        """Follow nobody. The one that was followed is told of its `successor`; returns who it was, where it still lived."""
        if self._following is not None:
            self._following.cancel()
        self._stand_alone()
        wire, self._wire, self._following = self._wire, None, None
        if wire is None or not wire.open:
            return None
        if successor is not None:
            wire.send(Succeeded(successor.identity, successor.address, successor.token))
        wire.close()
        return self._leader.identity if self._leader is not None else None

    async def _follow(self, leader: Candidate) -> None:
        while True:
            evidence = await self._visit(leader)
            if evidence is not None:
                self._doubt(leader.identity, evidence)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _visit(self, leader: Candidate) -> Evidence | None:
        """One connection, from its beginning to its end; returns what speaks against the leader, None where it took us in."""
        host, _, port = leader.address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, wire = await asyncio.get_running_loop().create_connection(Wire, host.strip("[]"), int(port))
        except ConnectionRefusedError:
            return Evidence.GONE if self._reached else Evidence.SILENT
        except (OSError, ValueError):
            return Evidence.SILENT
        self._wire = wire
        try:
            return await self._stay(leader, wire)
        finally:
            if self._wire is wire and not wire.open:
                self._wire = None

    async def _stay(self, leader: Candidate, wire: Wire) -> Evidence | None:
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        wire.hear = lambda message: self._greeted(leader, wire, message, answer)
        wire.send(Hello(LANGUAGE, leader.identity, leader.token, self._me.identity))
        await asyncio.wait((answer, wire.ended), timeout=SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            wire.abort()
            return Evidence.SILENT
        said = answer.result()
        if isinstance(said, Unwelcome):
            return self._unwelcome(leader, said)
        await wire.ended
        self._stand_alone()
        return None

    def _unwelcome(self, leader: Candidate, said: Unwelcome) -> Evidence:
        if said.identity != leader.identity:
            return Evidence.GONE
        log.warning("the leader takes no jobs from here: %s", said.reason)
        self._look()
        return Evidence.SILENT

    def _greeted(self, leader: Candidate, wire: Wire, message: Message, answer: asyncio.Future[Message]) -> None:
        if isinstance(message, Welcome):
            remote = RemoteDesk(wire, self._board.registry)
            wire.hear = lambda each: self._hear(remote, each)
            self._desk.switch(remote)
            asyncio.get_running_loop().call_soon(wire.send, Settled())  # after those who wait have asked again
            self._reached = True
            self._doubt(leader.identity, None)
        if not answer.done():
            answer.set_result(message)

    def _hear(self, remote: RemoteDesk, message: Message) -> None:
        if self._desk.current is not remote:
            return
        match message:
            case Loaded(load, peers):
                self.peers = set(peers)
                follow(self._board, Load.read(load), time.monotonic())
                self._desk.local.changed.set()
            case Goodbye():
                self._stand_alone()
                self._dismissed()
            case _:
                remote.hear(message)

    def _stand_alone(self) -> None:
        """Nobody gives out slots: what is in use counts here, and who waits does so here."""
        if self.linked:
            unfollow(self._board, time.monotonic())
            self._desk.switch(self._desk.local)
