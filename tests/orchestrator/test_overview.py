"""What `/status` tells of a registry and its lines."""

from datetime import UTC, datetime

import pytest

from stoker_contracts.capabilities import Hardware
from stoker_contracts.overview import LineOverview, ModelState, Overview, WorkerState
from stoker_contracts.resources.scaling import ScalingDecision, ScalingReason
from stoker_orchestrator.domain.events import FleetEvent, ModelSeen, Sight, Synced
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Bounds, EndpointState, Leaving, Model, Obstacle
from stoker_orchestrator.domain.overview import Identity, overview
from stoker_orchestrator.domain.placement import Wait
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.runner import Runner
from stoker_orchestrator.domain.switchboard import Granted, Outcome, Switchboard
from tests.support.fleet import endpoint, model

BROKEN = Obstacle("LoadFailed", "no such layer")
CROWDED = Obstacle("Unschedulable", "no node has a free card", of_room=True)
NEVER = model(scaling=Bounds(most=0))


def board(*events: FleetEvent) -> Switchboard:
    made = Switchboard(Registry())
    for event in events:
        made.apply(event, now=0)
    return made


def seen(made: Switchboard, now: float = 0, *decisions: ScalingDecision, **waits: Wait) -> Overview:
    return overview(Identity("o", "1"), made, lambda _: decisions, waits, now)


@pytest.mark.parametrize(
    ("told", "worker", "state", "reason", "message"),
    [
        (model(), EndpointState.READY, ModelState.SERVING, "", ""),
        (model(obstacle=BROKEN), EndpointState.READY, ModelState.SERVING, "", ""),
        (model(), EndpointState.STARTING, ModelState.STARTING, "", ""),
        (model(), EndpointState.DRAINING, ModelState.COLD, "", ""),
        (model(), None, ModelState.COLD, "", ""),
        (model(obstacle=CROWDED), EndpointState.STARTING, ModelState.WAITS, "Unschedulable", "no node has a free card"),
        (model(obstacle=BROKEN), EndpointState.STARTING, ModelState.UNAVAILABLE, "LoadFailed", "no such layer"),
        (NEVER, None, ModelState.STOPPED, "", "it has no worker, and none may be started"),
    ],
)
def test_a_models_state_is_what_becomes_of_a_job_sent_now(
    told: Model, worker: EndpointState | None, state: ModelState, reason: str, message: str
) -> None:
    workers = [endpoint("w", state=worker)] if worker else []

    (found,) = seen(board(ModelSeen(told), *workers)).models

    assert (found.state, found.reason, found.message) == (state, reason, message)


def test_a_model_that_no_other_can_make_room_for_is_unavailable() -> None:
    made = board(ModelSeen(model(obstacle=CROWDED)))
    made.registry.roomless.add("m")

    assert seen(made).models[0].state is ModelState.UNAVAILABLE


def test_a_model_that_waits_for_another_says_for_whom() -> None:
    made = board(ModelSeen(model(obstacle=CROWDED)), endpoint("w", state=EndpointState.STARTING, no_room="no free card"))

    (found,) = seen(made, m=Wait("m", "nvidia.com/gpu", ("other",), now=True)).models

    assert (found.state, found.reason) == (ModelState.WAITS, "WaitsForRoom")
    assert found.message == "no nvidia.com/gpu is free; other makes room"
    assert found.waits_for == ("other",)


def test_the_last_decisions_are_told() -> None:
    moment = datetime.fromtimestamp(0, UTC)
    decision = ScalingDecision(time=moment, before=0, after=1, reason=ScalingReason.WAKE, message="a job came")

    assert seen(board(ModelSeen(model())), 0, decision).models[0].decisions == (decision,)


def test_decisions_of_another_orchestrator_are_told_once_with_ones_own() -> None:
    made = [
        ScalingDecision(time=datetime.fromtimestamp(second, UTC), before=0, after=1, reason=ScalingReason.WAKE)
        for second in range(7)
    ]
    shown = model(decisions=tuple(made[:5]))

    (found,) = seen(board(ModelSeen(shown)), 0, *made[3:]).models

    assert found.decisions == tuple(made[2:])


def test_a_worker_out_of_order_says_why() -> None:
    made = board(ModelSeen(model()), endpoint("a", state=EndpointState.DRAINING, trouble="it answers 401"), endpoint("b"))

    assert [worker.message for worker in seen(made).models[0].workers] == ["it answers 401", ""]


def test_a_start_that_finds_no_room_is_told_in_the_schedulers_words() -> None:
    made = board(ModelSeen(model()), endpoint("w", state=EndpointState.STARTING, no_room="no free card"))

    assert seen(made).models[0].message == "no free card"


def test_a_worker_that_is_to_go_or_has_failed_says_so() -> None:
    made = board(ModelSeen(model()), *(endpoint(each) for each in "abcd"), endpoint("e", state=EndpointState.DRAINING))
    for identity, leaving, ejected in (
        ("b", Leaving.RETIRING, False),
        ("c", Leaving.CONDEMNED, False),
        ("d", Leaving.STAYS, True),
        ("e", Leaving.CONDEMNED, True),
    ):
        known = made.registry.endpoint(identity)
        assert known is not None
        known.leaving, known.ejected = leaving, ejected

    states = [worker.state for worker in seen(made).models[0].workers]

    wanted = [WorkerState.READY, WorkerState.LEAVING, WorkerState.LEAVING, WorkerState.EJECTED, WorkerState.DRAINING]
    assert states == wanted


def test_times_are_told_once_jobs_have_shown_how_long_they_take() -> None:
    made = board(ModelSeen(model()), endpoint("a", node="n"))
    (worker,) = made.registry.endpoints
    card = Hardware(name="h", memory_total=1, memory_free=1)
    worker.runner = Runner(hardware=(card, card, card.model_copy(update={"name": "l"})))
    before = seen(made).models[0]
    (first,) = made.arrive(1, model(), Ask(2.0), now=0)
    assert isinstance(first, Granted)
    made.release(first, 8.0, Outcome.SERVED, seconds=8.0)
    made.arrive(2, model(), Ask(3.0), now=10)
    for ticket, caller in ((3, "x"), (4, "y"), (5, "y")):
        made.arrive(ticket, model(), Ask(1.0, caller), now=10 + ticket)

    after = seen(made, now=20).models[0]

    assert (before.workers[0].ms_per_unit, before.workers[0].work_seconds, before.line.work_seconds) == (None, None, None)
    assert (after.workers[0].node, after.workers[0].device) == ("n", "2 × h, l")
    assert (after.workers[0].in_flight, after.workers[0].capacity) == (1, 1)
    assert (after.workers[0].ms_per_unit, after.workers[0].work_seconds) == (4000, 12)
    assert after.line == LineOverview(waiting=3, callers=2, work_seconds=12, oldest_seconds=7, estimated_wait_ms=18_000)


def test_a_slow_worker_takes_longer_for_the_same_work() -> None:
    made = board(ModelSeen(model()), endpoint("a"), endpoint("b"))
    (first,) = made.arrive(1, model(), Ask(2.0), now=0)
    assert isinstance(first, Granted)
    made.release(first, 8.0, Outcome.SERVED, seconds=8.0)
    slow = made.registry.endpoint("b")
    assert slow is not None
    slow.pace, slow.work = 3.0, 2.0

    fast, worse = seen(made).models[0].workers

    assert (fast.ms_per_unit, worse.ms_per_unit, worse.work_seconds) == (4000, 12_000, 24)


@pytest.mark.parametrize(("scaling", "bounds"), [(Bounds(1, 3), (1, 3)), (None, (None, None))])
def test_bounds_are_told_where_activity_decides(scaling: Bounds | None, bounds: tuple[int | None, int | None]) -> None:
    (found,) = seen(board(ModelSeen(model(scaling=scaling, replicas=2, warm=True)))).models

    assert (found.warm, found.replicas) == (True, 2)
    assert (found.min_replicas, found.max_replicas) == bounds


def test_an_orchestrator_that_sees_nothing_says_for_how_long() -> None:
    made = board()
    unsynced = seen(made).orchestrator
    for event in (Synced(), Sight(clear=False)):
        made.apply(event, now=5)
    blind = seen(made, now=12).orchestrator
    made.apply(Sight(clear=True), now=13)

    assert (unsynced.synced, unsynced.blind_seconds) == (False, None)
    assert (blind.synced, blind.blind_seconds) == (True, 7)
    assert seen(made, now=14).orchestrator.blind_seconds is None
