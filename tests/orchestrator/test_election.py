"""Who leads, with time as a number and a Lease that a test plays."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_orchestrator.domain.election import (
    DURATION_SECONDS,
    RECLAIM_SECONDS,
    RENEW_SECONDS,
    SILENT_SECONDS,
    Call,
    Candidate,
    Cease,
    Effect,
    Election,
    Evidence,
    Follow,
    Lead,
    Read,
    Reason,
    Seen,
    Write,
)
from tests.support.election import Chaos, Lease

A, B = Candidate("a/1", "10.0.0.1:8936", "ta"), Candidate("b/1", "10.0.0.2:8936", "tb")


class Played:
    """An election whose calls are carried out at once, unless the server is away."""

    def __init__(self, me: Candidate, lease: Lease) -> None:
        self.election = Election(me)
        self.lease = lease
        self.now = 0.0
        self.away = False
        self.effects: list[Effect] = []

    def until(self, now: float) -> list[Effect]:
        """Let time pass; what became of the lead meanwhile."""
        self.effects = []
        while self.now < now:
            self.now = min(now, self.now + 0.05)
            self.do(self.election.tick(self.now))
        return self.effects

    def do(self, effects: list[Effect]) -> None:
        while effects:
            effect, *effects = effects
            if isinstance(effect, Read | Write):
                effects += [*self._answer(effect), *self.election.tick(self.now)]
            else:
                self.effects.append(effect)

    def _answer(self, call: Call) -> list[Effect]:
        if self.away:
            return self.election.away(self.now)
        seen = self.lease.call(call)
        if seen is None:
            return self.election.conflicted()
        return self.election.read(seen, self.now) if isinstance(call, Read) else self.election.wrote(seen, self.now)


def pair() -> tuple[Played, Played, Lease]:
    """One that leads, one that follows."""
    lease = Lease()
    leader, follower = Played(A, lease), Played(B, lease)
    assert leader.until(0.1) == [Lead(Reason.VACANT)]
    assert follower.until(0.1) == [Follow(A)]
    return leader, follower, lease


def test_the_first_one_leads_and_the_second_follows_it() -> None:
    leader, follower, _ = pair()
    for second in range(1, 30):
        assert leader.until(second) == []
        assert follower.until(second) == []
    assert leader.election.may_write(30)
    assert not follower.election.may_write(30)


def test_a_lease_that_is_not_renewed_is_taken_when_its_time_is_over_and_not_before() -> None:
    _, follower, _ = pair()
    assert follower.until(DURATION_SECONDS) == []
    assert follower.until(DURATION_SECONDS + RENEW_SECONDS + 0.2) == [Lead(Reason.EXPIRED)]


def test_a_leader_that_is_known_to_be_gone_is_succeeded_at_once() -> None:
    _, follower, _ = pair()
    follower.until(1.0)
    follower.do(follower.election.doubt("a/1", Evidence.GONE, 1.0))
    assert follower.effects == [Lead(Reason.GONE)]


def test_a_leader_that_renewed_just_before_it_went_is_succeeded_at_once_too() -> None:
    leader, follower, _ = pair()
    follower.until(2.05)
    leader.until(2.3)
    follower.do(follower.election.doubt("a/1", Evidence.GONE, 2.1))
    assert follower.effects == [Lead(Reason.GONE)]


def test_a_leader_that_only_the_link_calls_silent_leads_on_while_it_renews() -> None:
    leader, follower, _ = pair()
    for step in range(1, 100):
        now = step / 4
        leader.until(now)
        follower.do(follower.election.doubt("a/1", Evidence.SILENT, now))
        follower.until(now)
        assert not follower.election.leading


def test_a_leader_that_neither_answers_nor_renews_is_succeeded_before_its_time_is_over() -> None:
    _, follower, _ = pair()
    for step in range(1, 14):
        follower.do(follower.election.doubt("a/1", Evidence.SILENT, step / 4))
        if follower.until(step / 4):
            break
    assert follower.effects == [Lead(Reason.SILENT)]
    assert SILENT_SECONDS <= follower.now <= SILENT_SECONDS + 0.5


def test_who_was_taken_for_gone_and_renews_is_believed() -> None:
    _, follower, lease = pair()
    election = follower.election
    follower.until(0.2)
    call: Effect | None = election.doubt("a/1", Evidence.GONE, 0.2)[0]
    for _ in range(2):
        assert isinstance(call, Write)
        lease.call(Write(A, 1, lease.seen.version))
        assert lease.call(call) is None
        assert election.conflicted() == []
        assert election.tick(0.2) == [Read()]
        election.read(lease.seen, 0.2)
        call = next(iter(election.tick(0.2)), None)
    assert call is None
    assert election.doubt("a/1", Evidence.GONE, 0.2) == []


def test_a_process_succeeds_an_earlier_one_of_its_own_pod_at_once() -> None:
    _, _, lease = pair()
    again = Played(replace(A, identity="a/2"), lease)
    assert again.until(0.1) == [Follow(A), Lead(Reason.RESTARTED)]


def test_while_the_server_is_away_the_leader_leads_on_and_writes_nothing_after_its_time() -> None:
    leader, follower, _ = pair()
    leader.away = follower.away = True
    assert leader.until(90) == []
    assert follower.until(90) == []
    assert leader.election.leading
    assert not leader.election.may_write(90)

    leader.away = follower.away = False
    assert follower.until(95) == []
    assert leader.until(95) == []
    assert leader.election.may_write(95)


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    leader, _, lease = pair()
    (renewal,) = leader.election.tick(4.0)
    seen = lease.call(renewal) if isinstance(renewal, Write) else None
    assert seen is not None
    leader.election.wrote(seen, 8.0)
    assert leader.election.may_write(4.0 + DURATION_SECONDS - 0.1)
    assert not leader.election.may_write(4.0 + DURATION_SECONDS)


def test_nobody_succeeds_a_leader_that_is_gone_until_the_server_is_back() -> None:
    _, follower, _ = pair()
    follower.away = True
    follower.do(follower.election.doubt("a/1", Evidence.GONE, 0.2))
    assert follower.until(30) == []
    follower.away = False
    assert follower.until(32) == [Lead(Reason.GONE)]


def test_a_leader_that_was_cut_off_gives_way_to_its_successor() -> None:
    leader, follower, _ = pair()
    leader.away = True
    follower.until(15)
    assert follower.election.leading
    leader.until(15)
    leader.away = False
    assert leader.until(17) == [Cease(Reason.LOST), Follow(B)]


def test_a_leader_that_is_told_of_its_successor_gives_way_without_a_look() -> None:
    leader, _, _ = pair()
    leader.away = True
    assert leader.election.told(B) == [Cease(Reason.LOST), Follow(B)]


def test_a_leader_that_stops_hands_over_and_follows_its_successor() -> None:
    leader, follower, _ = pair()
    leader.do(leader.election.retire(0.1))
    assert leader.effects == [Lead(Reason.VACANT), Cease(Reason.RELEASED)]
    follower.do(follower.election.look(0.1))
    assert follower.effects == [Follow(A), Lead(Reason.VACANT)]
    assert leader.until(1) == [Follow(B)]
    for second in range(1, 30):
        assert follower.until(second) == leader.until(second) == []


def test_one_that_stops_leads_on_where_nobody_else_will() -> None:
    leader, _, _ = pair()
    leader.do(leader.election.retire(0.1))
    assert leader.until(RECLAIM_SECONDS) == []
    assert leader.until(RECLAIM_SECONDS + 1) == [Lead(Reason.VACANT)]
    leader.do(leader.election.end(4))
    assert leader.effects[-1] == Cease(Reason.RELEASED)
    assert leader.until(30) == []


def test_one_that_stops_succeeds_a_leader_that_is_gone_where_nobody_else_will() -> None:
    _, follower, _ = pair()
    follower.do(follower.election.retire(0.1))
    follower.do(follower.election.doubt("a/1", Evidence.GONE, 0.1))
    assert follower.until(RECLAIM_SECONDS + 0.5) == [Lead(Reason.GONE)]


def test_a_leader_that_gives_up_the_lead_and_takes_it_back_is_followed_anew() -> None:
    leader, follower, _ = pair()
    follower.away = True
    leader.do(leader.election.retire(0.1))
    follower.do(follower.election.dismissed(0.1))
    assert Lead(Reason.VACANT) in leader.until(RECLAIM_SECONDS + 1)
    follower.away = False
    assert follower.until(RECLAIM_SECONDS + 3) == [Follow(A)]


def test_a_look_that_began_before_the_leader_gave_up_the_lead_tells_nothing() -> None:
    _, follower, lease = pair()
    (read,) = follower.election.look(0.1)
    assert isinstance(read, Read)
    before = lease.seen
    assert follower.election.dismissed(0.2) == []
    assert follower.election.read(before, 0.3) == []
    assert follower.election.tick(0.3) == [Read()]


def test_a_write_whose_answer_was_lost_is_found_again() -> None:
    lease = Lease()
    one = Played(A, lease)
    (read,) = one.election.tick(0)
    assert isinstance(read, Read)
    one.election.read(Seen(), 0)
    (write,) = one.election.tick(0)
    assert isinstance(write, Write)
    assert lease.call(write) is not None
    one.election.away(0)
    assert one.election.tick(9) == [Read()]
    assert one.election.read(lease.seen, 9) == [Lead(Reason.KEPT)]
    assert not one.election.may_write(9)  # it may have been written long ago
    one.do(one.election.tick(9))
    assert one.election.may_write(9)


@pytest.mark.parametrize("holder", [None, replace(A, token="other")])
def test_a_lease_that_somebody_else_wrote_over_is_looked_at_again(holder: Candidate | None) -> None:
    leader, _, lease = pair()
    lease.call(Write(holder, 1, lease.seen.version))
    leader.until(5)
    assert leader.election.leading
    assert leader.election.may_write(5)
    assert lease.seen.holder == A


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), count=st.integers(2, 4), evidence=st.booleans())
def test_no_two_hold_the_lease_whatever_breaks_and_one_leads_in_the_end(seed: int, count: int, *, evidence: bool) -> None:
    chaos = Chaos(seed, count, quiet_from=120, evidence=evidence)

    def check() -> None:
        version = chaos.lease.seen.version
        assert sum(node.election._seen is not None and node.election._seen.version == version for node in chaos.leaders()) <= 1
        if not evidence:
            awake = [node for node in chaos.leaders() if chaos.now >= node.frozen_until]
            assert sum(node.election.may_write(chaos.now) for node in awake) <= 1

    chaos.run(160, check)
    (leader,) = chaos.leaders()
    assert leader.election.may_write(chaos.now)
    assert all(node.election.leader == leader.election.me for node in chaos.nodes if node.alive and node is not leader)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_leader_that_renews_in_time_is_never_succeeded(seed: int) -> None:
    chaos = Chaos(seed, 3, quiet_from=0, evidence=True)
    chaos.run(60, lambda: None)
    assert sum(isinstance(effect, Lead) for node in chaos.nodes for _, effect in node.history) == 1
