"""Workers that start while jobs wait: asked themselves, a few at a time."""

from typing import Any

from stoker_orchestrator.domain.events import EndpointSeen, ModelSeen
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import EndpointState
from stoker_orchestrator.domain.outliers import Probe, Pulse
from tests.support.fleet import endpoint, model
from tests.support.switchboards import M, granted, switchboard


def starting(identity: str = "a", **others: Any) -> EndpointSeen:
    return endpoint(identity, state=EndpointState.STARTING, **others)


def test_while_jobs_wait_a_starting_worker_is_asked_itself_and_serves_before_its_fleet_calls_it_ready() -> None:
    board = switchboard()
    board.apply(starting(), now=0)
    assert board.expire(now=1) == [], "nobody waits"
    board.arrive(1, M, Ask(1), now=1)
    (probe,) = board.expire(now=2)
    assert isinstance(probe, Probe)

    assert board.probed("a", Pulse(alive=True), now=2) == []
    assert granted(board.probed("a", Pulse(alive=True, ready=True), now=3)) == [(1, "a")]
    board.apply(starting(), now=4)
    assert board.registry.is_warm("m"), "what the fleet says late does not take it back"
    board.apply(endpoint("a"), now=5)
    board.apply(starting(), now=6)
    assert not board.registry.is_warm("m"), "but what it says once it has seen it does"


def test_a_worker_without_an_address_or_of_others_is_not_asked() -> None:
    board = switchboard()
    board.apply(starting(address=""), now=0)
    board.apply(starting("b", pulse=False), now=0)
    board.arrive(1, M, Ask(1), now=1)

    assert board.expire(now=2) == []


def test_a_worker_that_is_silent_while_it_starts_is_not_ejected() -> None:
    board = switchboard()
    board.apply(starting(), now=0)
    board.arrive(1, M, Ask(1), now=1)
    for moment in range(5):
        board.probed("a", Pulse(alive=False), now=moment)
    board.apply(endpoint("a"), now=6)

    assert board.registry.is_warm("m")


def test_of_many_workers_that_start_a_few_are_asked_at_a_time_and_all_in_turn() -> None:
    board = switchboard()
    for number in range(100):
        board.apply(endpoint(f"{number}", state=EndpointState.STARTING), now=0)
    board.arrive(1, M, Ask(1), now=0)

    asked = [[each.endpoint.id for each in board.expire(now=tick / 10) if isinstance(each, Probe)] for tick in range(13)]
    assert {len(each) for each in asked} == {8}
    assert {identity for each in asked for identity in each} == {str(number) for number in range(100)}


def test_the_workers_of_each_model_that_start_are_all_asked_in_turn_however_many_models_wait() -> None:
    board = switchboard()
    other = model("n", start_timeout=60)
    board.apply(ModelSeen(other), now=0)
    for ticket, each in enumerate((M, other)):
        for number in range(16):
            board.apply(starting(f"{each.name}{number}", of=each.name), now=0)
        board.arrive(ticket, each, Ask(1), now=0)

    asked = {each.endpoint.id for tick in range(2) for each in board.expire(now=tick / 10) if isinstance(each, Probe)}
    assert len(asked) == 32
