"""What holds for a line whatever happens to it, in any order."""

from collections import Counter, defaultdict
from collections.abc import Hashable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from stoker_worker.domain.line import Entry, Line


class Course(RuleBasedStateMachine):
    """Whatever happens to a line, in any order."""

    @initialize(capacity=st.integers(1, 6), most=st.integers(1, 5))
    def begin(self, capacity: int, most: int) -> None:
        self.line = Line(capacity)
        self.most = most
        self.ticket = 0
        self.now = 0
        self.rows: dict[int, int] = {}
        self.gone: set[int] = set()
        self.ended: Counter[int] = Counter()
        self.admitted: set[int] = set()
        self.first_starts: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)

    @rule(key=st.integers(0, 3), rows=st.integers(1, 6), time=st.none() | st.integers(0, 9))
    def admit(self, key: int, rows: int, time: int | None) -> None:
        self.ticket += 1
        before = self.line.in_flight
        deadline = self.now + time if time is not None else None
        refusal = self.line.admit(Entry(self.ticket, key, rows, 10.0**key, deadline))
        assert (refusal is None) == (before < self.line.capacity)
        if refusal is None:
            self.admitted.add(self.ticket)
            self.rows[self.ticket] = rows

    @rule()
    def start(self) -> None:
        idle = not self.line.running
        found = self.line.start(lambda _: self.most)
        waiting = self.admitted - self.ended.keys() - {piece.ticket for piece in self.line.running}
        if found is None:
            assert not idle or not waiting - self.gone, "a free model leaves nobody waiting"
            return
        key, pieces = found
        assert 1 <= len(pieces) <= self.most
        for piece in pieces:
            assert piece.ticket not in self.ended
            assert not piece.alone or len(pieces) == 1
            if (piece.ticket, piece.index) not in self.first_starts[key]:
                self.first_starts[key].append((piece.ticket, piece.index))

    @precondition(lambda self: self.line.running)
    @rule(end=st.sampled_from(["made", "again", "alone", "failed"]), failing=st.integers(0, 4))
    def finish(self, end: str, failing: int) -> None:
        pieces = self.line.running
        self.line.finish()
        for ticket in {piece.ticket for piece in pieces} & self.gone:
            self.end(ticket)
        live = [piece for piece in pieces if piece.ticket not in self.ended]
        if end in ("again", "alone") and len(pieces) > 1:
            self.line.again(live, alone=end == "alone")
            return
        for index, piece in enumerate(live):
            if piece.ticket in self.ended:
                continue
            if end == "failed" and index == failing:
                self.end(piece.ticket)
            elif self.line.made(piece.ticket):
                self.ended[piece.ticket] += 1

    def end(self, ticket: int) -> None:
        self.line.drop(ticket)
        self.ended[ticket] += 1

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        candidates = sorted(self.admitted - self.ended.keys() - self.gone)
        if not candidates:
            return
        ticket = data.draw(st.sampled_from(candidates))
        running = ticket in {piece.ticket for piece in self.line.running}
        assert self.line.withdraw(ticket) is not running
        if running:
            self.gone.add(ticket)
        else:
            self.ended[ticket] += 1

    @rule(time=st.integers(0, 5))
    def expire(self, time: int) -> None:
        self.now += time
        for ticket in self.line.expire(self.now):
            self.ended[ticket] += 1

    @invariant()
    def never_more_than_capacity(self) -> None:
        if hasattr(self, "line"):
            assert self.line.in_flight == len(self.admitted) - len(self.ended) <= self.line.capacity

    @invariant()
    def every_job_ends_once(self) -> None:
        if hasattr(self, "line"):
            assert set(self.ended.values()) <= {1}

    @invariant()
    def rows_of_a_key_begin_in_the_order_they_came(self) -> None:
        if hasattr(self, "line"):
            for begun in self.first_starts.values():
                assert begun == sorted(begun)

    @invariant()
    def memory_is_that_of_who_is_there(self) -> None:
        if hasattr(self, "line"):
            waiting = sum(len(lane.pieces) for lane in self.line._lanes.values())
            assert waiting <= sum(self.rows[ticket] for ticket in self.admitted - self.ended.keys())
            assert len(self.line._lanes) <= self.line.capacity
            assert all(lane.pieces for lane in self.line._lanes.values())

    @invariant()
    def credit_stays_within_what_a_lane_can_ask_for(self) -> None:
        """What a lane may be ahead of the others is what starvation is bounded by."""
        if hasattr(self, "line"):
            for key, lane in self.line._lanes.items():
                assert isinstance(key, int)
                assert -1e-6 <= lane.credit <= 2 * self.most * 10.0**key + 1e-6


def test_a_line_keeps_its_promises_whatever_happens() -> None:
    run_state_machine_as_test(Course)
