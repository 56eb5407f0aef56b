"""Who of several orchestrators leads: the holder of one Lease. Events in, effects out, and time as a number.

The Lease is changed only by writes that name the version they replace, so that of two candidates one succeeds. It is held for
`DURATION_SECONDS` after the last renewal; sooner it is taken from a holder whose process is known to be gone or stands still.
While the API server is away nobody can take it: the holder leads on, and the others stay with the leader they know.
"""

from dataclasses import dataclass
from enum import StrEnum

RENEW_SECONDS = 2.0
"""Between two renewals, and between two looks at a Lease that another one holds."""
DURATION_SECONDS = 10.0
"""A Lease that was not renewed for so long is anybody's."""
SILENT_SECONDS = 3.0
"""A holder that neither answers nor renews for so long stands still."""
LOOK_AGAIN_SECONDS = 0.25
"""Between two looks while there may be a Lease to take soon."""
AWAY_SECONDS = 1.0
"""Before the next call after one that failed."""
RECLAIM_SECONDS = 2.0
"""One that is about to stop takes a Lease which nobody else has taken for so long."""


class Reason(StrEnum):
    """Why the lead changed."""

    VACANT = "vacant"
    """Nobody held the Lease."""
    RESTARTED = "restarted"
    """The holder was an earlier process in the same pod."""
    GONE = "gone"
    """The holder's process is no more."""
    SILENT = "silent"
    """The holder neither answered nor renewed."""
    EXPIRED = "expired"
    """The holder had not renewed the Lease in time."""
    KEPT = "kept"
    """A write had succeeded though its answer was lost."""
    RELEASED = "released"
    """The holder gave the Lease up because it stops."""
    LOST = "lost"
    """Another one took the Lease."""


class Evidence(StrEnum):
    """What a follower sees of a leader that it cannot reach."""

    GONE = "gone"
    """Its process has ended: the port that was there is not, or another process answers on it."""
    SILENT = "silent"
    """It says nothing. The way to it may be broken just as well."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One process. `identity` is ``<pod>/<random>``; the others reach it at `address` and show `token` there."""

    identity: str
    address: str
    token: str

    @property
    def pod(self) -> str:
        """The pod that it runs in; two processes of one pod never run at the same time."""
        return self.identity.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Seen:
    """The Lease as it was read. `holder` is None where nobody holds it, `version` empty where there is none.

    `renewed` is different after each renewal; `changes` counts how often it changed hands.
    """

    holder: Candidate | None = None
    renewed: str = ""
    changes: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """Look at the Lease."""


@dataclass(frozen=True, slots=True)
class Write:
    """Make `holder` the holder of the Lease if it still has this version; an empty one: if there is none yet."""

    holder: Candidate | None
    changes: int
    version: str


@dataclass(frozen=True, slots=True)
class Lead:
    """This process leads from now on."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Cease:
    """This process leads no longer."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Follow:
    """Another process leads."""

    leader: Candidate


Call = Read | Write
Effect = Call | Lead | Cease | Follow


class Election:
    """One candidate's view. Of its calls one is under way at a time; what came of it is told before the next one."""

    def __init__(self, me: Candidate) -> None:
        self.me = me
        self.leading = False
        self.leader: Candidate | None = None
        """Whom this process follows, or followed last; None once that one has given up the lead."""
        self._seen: Seen | None = None
        self._still_since: float | None = None
        self._looked_at = self._renewed_at = self._called_at = self._again_at = float("-inf")
        self._call: Call | None = None
        self._reason = Reason.VACANT
        self._open_since: float | None = None
        self._gone = self._alive = ""
        self._refusals = 0
        self._silent, self._silent_at = "", float("-inf")
        self._dismissed_at = float("-inf")
        self._retiring = self._ending = self._stepping_down = False

    @property
    def first(self) -> bool:
        """Whether nobody has led before this process."""
        return self.leading and self._seen is not None and self._seen.changes <= 1

    def may_write(self, now: float) -> bool:
        """Whether nobody else can lead: the Lease is held, and was renewed not too long ago."""
        return self.leading and now - self._renewed_at < DURATION_SECONDS

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: the next call, if one is due."""
        if self._call is not None or now < self._again_at:
            return []
        self._call = self._next(now)
        self._called_at = now
        return [] if self._call is None else [self._call]

    def read(self, seen: Seen, now: float) -> list[Effect]:
        """The Lease was read."""
        self._call, self._looked_at = None, now
        if self._called_at < self._dismissed_at:
            return []  # it may tell of the leader that has given up the lead since
        before, self._seen = self._seen, seen
        if self._still_since is None or before is None or (before.holder, before.renewed) != (seen.holder, seen.renewed):
            self._still_since = now
        return self._judge(seen.holder)

    def wrote(self, seen: Seen, now: float) -> list[Effect]:
        """The write succeeded; the Lease is now as told."""
        self._call, self._looked_at, self._still_since = None, now, now
        self._seen = seen
        if seen.holder is None:
            self.leading = self._stepping_down = False
            return [Cease(Reason.RELEASED)]
        if self.leading:
            self._renewed_at = self._called_at
            return []
        return self._lead(self._reason, self._called_at)

    def conflicted(self) -> list[Effect]:
        """The Lease had another version than the write named."""
        self._call, self._seen = None, None
        self._refusals += 1
        if self._gone and self._refusals > 1:
            self._gone, self._alive = "", self._gone  # somebody renews
        return []

    def away(self, now: float) -> list[Effect]:
        """The call failed, and nobody knows what came of it. What was seen of the Lease before is no sign that it stands still."""
        self._seen = None if isinstance(self._call, Write) else self._seen
        self._call, self._still_since = None, None
        self._again_at = now + AWAY_SECONDS
        return []

    def doubt(self, identity: str, evidence: Evidence, now: float) -> list[Effect]:
        """The leader cannot be reached. Who was thought to be gone and renewed is no more than silent."""
        self._silent, self._silent_at = identity, now
        if evidence is Evidence.GONE and identity not in (self._gone, self._alive):
            self._gone, self._refusals = identity, 0
        return self.tick(now)

    def trust(self, identity: str) -> list[Effect]:
        """The leader answers."""
        self._gone = "" if self._gone == identity else self._gone
        self._silent = "" if self._silent == identity else self._silent
        self._alive = "" if self._alive == identity else self._alive
        return []

    def look(self, now: float) -> list[Effect]:
        """The Lease is about to change, or has: look at once."""
        self._seen = None
        return self.tick(now)

    def dismissed(self, now: float) -> list[Effect]:
        """The leader gives up the lead. Whoever holds the Lease next is followed anew, even the same one."""
        self.leader, self._dismissed_at = None, now
        return self.look(now)

    def told(self, leader: Candidate) -> list[Effect]:
        """Another process says that it holds the Lease."""
        self._seen, self._still_since = None, None
        return self._give_way(leader)

    def retire(self, now: float) -> list[Effect]:
        """This process stops before long: another one is to lead."""
        self._retiring, self._stepping_down = True, self.leading
        return self.tick(now)

    def end(self, now: float) -> list[Effect]:
        """This process stops now."""
        self._retiring = self._ending = True
        self._stepping_down, self._again_at = self.leading, float("-inf")
        return self.tick(now)

    def _next(self, now: float) -> Call | None:
        if self._seen is None:
            return Read()
        if self.leading:
            if self._stepping_down:
                return Write(None, self._seen.changes, self._seen.version)
            due = now - self._renewed_at >= RENEW_SECONDS
            return Write(self.me, self._seen.changes, self._seen.version) if due else None
        reason = self._opening(self._seen, now)
        self._open_since = None if reason is None else self._open_since if self._open_since is not None else now
        if reason is not None and self._may_take(now, self._open_since or now):
            self._reason = reason
            return Write(self.me, self._seen.changes + 1, self._seen.version)
        soon = reason is not None or self._seen.holder is None or now - self._silent_at < SILENT_SECONDS
        return Read() if now - self._looked_at >= (LOOK_AGAIN_SECONDS if soon else RENEW_SECONDS) else None

    def _opening(self, seen: Seen, now: float) -> Reason | None:
        """Why the Lease may be taken, if it may."""
        if seen.holder is None:
            return Reason.VACANT
        if seen.holder.pod == self.me.pod:
            return Reason.RESTARTED
        if seen.holder.identity == self._gone:
            return Reason.GONE
        still = self._looked_at - self._still_since if self._still_since is not None else 0.0
        is_silent = seen.holder.identity == self._silent and now - self._silent_at < SILENT_SECONDS
        if is_silent and still >= SILENT_SECONDS:
            return Reason.SILENT
        return Reason.EXPIRED if still >= DURATION_SECONDS else None

    def _may_take(self, now: float, since: float) -> bool:
        """One that is about to stop leaves it to the others, as long as there are any."""
        return not self._ending and (not self._retiring or now - since >= RECLAIM_SECONDS)

    def _judge(self, holder: Candidate | None) -> list[Effect]:
        if holder is None or holder.identity != self.me.identity:
            return self._give_way(holder)
        return [] if self.leading else self._lead(Reason.KEPT, float("-inf"))  # when it was written is not known

    def _give_way(self, holder: Candidate | None) -> list[Effect]:
        effects: list[Effect] = [Cease(Reason.LOST)] if self.leading else []
        self.leading = False
        if holder is not None and (effects or holder != self.leader):
            effects.append(Follow(holder))
        self.leader = holder or self.leader
        return effects

    def _lead(self, reason: Reason, since: float) -> list[Effect]:
        self.leading, self.leader, self._renewed_at = True, None, since
        self._gone = self._silent = ""
        self._open_since = None
        self._stepping_down = self._ending
        return [Lead(reason)]
