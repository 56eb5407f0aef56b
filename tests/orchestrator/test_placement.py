"""Models that take turns on devices of which there are too few, in virtual time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_contracts.resources.scaling import ScalingReason
from stoker_orchestrator.domain.events import EndpointGone, EndpointSeen
from stoker_orchestrator.domain.hold import Ask
from stoker_orchestrator.domain.model import Bounds, EndpointState, Leaving, Model, Obstacle
from stoker_orchestrator.domain.placement import Placement
from stoker_orchestrator.domain.registry import Registry
from stoker_orchestrator.domain.switchboard import Refused
from tests.support.fleet import endpoint, model, seen
from tests.support.virtual import GPU, LACKING, VirtualCluster, cluster


def swapped(name: str, least: int = 0, **others: Any) -> Model:
    bounds = Bounds(least, others.pop("most", 1), idle_after=10_000)
    return model(name, scaling=bounds, start_timeout=others.pop("start_timeout", 10_000), **others)


def messages(here: VirtualCluster, name: str) -> list[tuple[ScalingReason, str]]:
    return [(each.reason, each.message) for each in here.decided if each.model == name and each.reason is not ScalingReason.WAKE]


def served(here: VirtualCluster, name: str, seconds: float = 1.0) -> None:
    ticket = here.send(name, seconds)
    here.until(lambda: ticket in here.served)


def test_an_idle_model_makes_room_for_one_that_is_asked_for_and_both_say_so() -> None:
    here = cluster(swapped("a"), swapped("b"), devices=1)
    served(here, "a")
    here.run(60)
    asked = here.now
    served(here, "b")

    assert here.now - asked < 12, "drained, ended and loaded without a wait for more"
    assert (here.replicas("a"), here.replicas("b")) == (0, 1)
    assert messages(here, "a") == [(ScalingReason.MAKE_ROOM, "b is asked for and no device is free")]
    assert messages(here, "b") == [(ScalingReason.WAITS_FOR_ROOM, f"no {GPU} is free; a makes room")]
    assert here.killed_busy == []


def test_nobody_goes_who_was_loaded_a_moment_ago() -> None:
    here = cluster(swapped("a"), swapped("b"), devices=1)
    served(here, "a")
    loaded = here.now
    served(here, "b")

    assert here.now - loaded >= 60
    assert messages(here, "b")[0][1] == f"no {GPU} is free; a can make room when idle and loaded for long enough"


def test_a_busy_model_finishes_its_jobs_first() -> None:
    here = cluster(swapped("a"), swapped("b"), devices=1)
    served(here, "a")
    here.run(60)
    long = here.send("a", seconds=100)
    waits = here.send("b")
    here.run(20)
    assert {each.leaving for each in here.board.registry.endpoints} == {Leaving.STAYS}
    here.until(lambda: waits in here.served)

    assert long in here.served
    assert here.killed_busy == []


def test_the_least_recently_used_model_goes() -> None:
    here = cluster(swapped("a"), swapped("b"), swapped("c"), devices=2)
    for name in ("a", "b"):
        served(here, name)
    here.run(60)
    served(here, "a")
    served(here, "c")

    assert [here.replicas(name) for name in "abc"] == [1, 0, 1]


def test_two_that_wait_get_room_from_two() -> None:
    here = cluster(*(swapped(name) for name in "abcd"), devices=2)
    served(here, "a")
    served(here, "b")
    here.run(60)
    tickets = [here.send("c"), here.send("d")]
    here.until(lambda: set(tickets) <= set(here.served), seconds=30)

    assert [here.replicas(name) for name in "abcd"] == [0, 0, 1, 1]


def test_a_job_for_the_one_that_was_to_go_keeps_it() -> None:
    here = cluster(swapped("a"), swapped("b"), devices=1)
    served(here, "a")
    here.run(60)
    here.send("b")
    here.until(lambda: any(each.leaving is Leaving.RETIRING for each in here.board.registry.endpoints))
    here.send("a", seconds=20)
    here.run(10)

    assert here.replicas("a") == 1
    here.until(lambda: len(here.served) == 3)
    assert here.killed_busy == []


def test_workers_above_the_least_go_and_those_that_must_stay_stay() -> None:
    here = cluster(swapped("a", least=1, most=2, replicas=2), swapped("b"), devices=2)
    here.run(70)
    served(here, "b")

    assert (here.replicas("a"), here.replicas("b")) == (1, 1)


def test_workers_of_a_donor_that_have_no_device_go_with_those_that_have() -> None:
    here = cluster(swapped("a", most=3, replicas=3), swapped("b"), devices=1)
    here.run(70)
    served(here, "b")

    assert (here.replicas("a"), here.replicas("b")) == (0, 1)
    assert here.scaled == [("b", 0, 1), ("a", 3, 0)]


def test_where_nobody_can_ever_make_room_jobs_are_refused_at_once_until_that_changes() -> None:
    here = cluster(swapped("a", least=1), swapped("b"), devices=1)
    here.run(70)
    first = here.send("b")
    here.until(lambda: first in here.refused)
    assert here.board.registry.roomless == {"b"}
    assert f"no node has 1 free {GPU}" in here.refused[first].refusal.message
    here.run(10)
    second = here.send("b")
    assert second in here.refused, "at once"

    here.change("a", scaling=Bounds(0, 1, 10_000))
    here.run(0.5)
    assert here.board.registry.roomless == set()
    assert here.replicas("a") == 0, "somebody has asked for none"
    served(here, "b")


def test_a_model_that_must_run_gets_room_without_a_job() -> None:
    here = cluster(swapped("a"), swapped("b"), devices=1)
    served(here, "a")
    here.run(60)
    here.change("b", scaling=Bounds(1, 1, 10_000))
    here.until(lambda: here.ready("b"), seconds=20)

    assert here.replicas("a") == 0


def registry(*models: Model, **endpoints: EndpointSeen) -> Registry:
    made = Registry()
    for event in [*seen(*models), *endpoints.values()]:
        made.apply(event, now=0)
    return made


def held(identity: str, of: str, count: int = 1, device: str = GPU, node: str = "n") -> EndpointSeen:
    return endpoint(identity, of, devices={device: count}, node=node)


def starved(of: str, count: int = 1) -> EndpointSeen:
    return endpoint("w", of, state=EndpointState.STARTING, devices={GPU: count}, no_room=LACKING)


@pytest.mark.parametrize(
    ("endpoints", "going"),
    [
        ((held("a1", "a", 1), held("b1", "b", 2)), {"b1"}),
        ((held("a1", "a", 1), held("b1", "b", 1)), {"a1", "b1"}),
        ((held("a1", "a", 1), held("b1", "b", 1, node="other")), set()),
        ((held("a1", "a", 2, "amd.com/gpu"),), set()),
        ((held("a1", "a", 1), held("a2", "a", 1)), {"a1", "a2"}),
    ],
)
def test_so_many_go_as_free_enough_of_the_same_devices_on_one_node(endpoints: tuple[EndpointSeen, ...], going: set[str]) -> None:
    known = registry(
        swapped("a", replicas=2, most=2), swapped("b", replicas=1), swapped("c", replicas=1), w=starved("c", 2),
        **{each.id: each for each in endpoints},
    )  # fmt: skip
    placement = Placement(known, lambda name: int(name == "c"), residency=60)
    for now in (60, 62):
        placement.look(now)

    assert {identity for name in "ab" if (gives := placement.gives(name)) for identity in gives[1]} == going
    assert (known.roomless == {"c"}) is not bool(going)


def test_two_that_wait_never_count_on_the_same_worker() -> None:
    known = registry(
        swapped("a", replicas=1), swapped("c", replicas=1), swapped("d", replicas=1), w=starved("c"), a1=held("a1", "a")
    )
    known.apply(endpoint("v", "d", state=EndpointState.STARTING, devices={GPU: 1}, no_room=LACKING), now=0)
    placement = Placement(known, lambda name: int(name in "cd"), residency=60)
    placement.look(60)

    assert placement.gives("a") == ("c", frozenset({"a1"}))
    assert [placement.waits[name].now for name in "cd"] == [True, False]


def test_two_that_wait_get_a_worker_each_of_a_model_that_has_two() -> None:
    known = registry(
        swapped("a", most=2, replicas=2), swapped("c", replicas=1), swapped("d", replicas=1),
        w=starved("c"), a1=held("a1", "a"), a2=held("a2", "a"),
    )  # fmt: skip
    known.apply(endpoint("v", "d", state=EndpointState.STARTING, devices={GPU: 1}, no_room=LACKING), now=0)
    placement = Placement(known, lambda name: int(name in "cd"), residency=60)
    placement.look(60)
    assert placement.gives("a") == ("c", frozenset({"a1"}))

    known.apply(EndpointGone("a1"), now=61)
    placement.look(61)
    assert placement.gives("a") == ("d", frozenset({"a2"}))


def test_a_device_that_is_about_to_be_free_is_waited_for() -> None:
    known = registry(swapped("c", replicas=1), w=starved("c"))
    known.apply(endpoint("old", "gone", state=EndpointState.DRAINING, devices={GPU: 1}), now=0)
    placement = Placement(known, lambda _: 1)
    for now in (0, 100):
        placement.look(now)

    assert known.roomless == set()
    assert placement.waits["c"].message == f"no {GPU} is free; one is about to be"


def test_a_refusal_for_lack_of_room_needs_the_lack_to_last() -> None:
    known = registry(swapped("c", replicas=1, obstacle=Obstacle("Unschedulable", "none", of_room=True)), w=starved("c"))
    placement = Placement(known, lambda _: 1)
    placement.look(0)
    assert known.roomless == set()
    placement.look(2)
    assert known.roomless == {"c"}


def test_room_that_the_scheduler_gives_to_nobody_is_sought_again() -> None:
    here = cluster(swapped("a"), swapped("b"), swapped("c"), devices=2)
    served(here, "a")
    served(here, "b")
    here.run(60)
    here.devices = 0
    ticket = here.send("c")
    here.until(lambda: [here.replicas(name) for name in "ab"] == [0, 0])

    here.devices = 1
    here.until(lambda: ticket in here.served)


def test_who_waits_is_refused_when_it_turns_out_that_nobody_can_make_room() -> None:
    here = cluster(swapped("a"), swapped("b"), devices=1)
    served(here, "a")
    ticket = here.send("b")
    here.run(5)
    assert ticket not in here.refused

    here.change("a", scaling=Bounds(1, 1, 10_000))
    here.run(5)
    assert isinstance(here.refused[ticket], Refused)
    assert here.board.arrive(999, here.models["b"], Ask(1), here.now)


@settings(max_examples=30, deadline=None)
@given(
    trace=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 7.0, 30.0, 90.0])), min_size=10, max_size=60),
    devices=st.integers(1, 2),
    seconds=st.sampled_from([0.5, 4.0]),
)
def test_models_that_take_turns_reload_at_most_once_in_the_residency_for_each_device(
    trace: list[tuple[str, float]], devices: int, seconds: float
) -> None:
    here = cluster(*(swapped(name) for name in "abc"), devices=devices)
    for name, pause in trace:
        here.send(name, seconds)
        here.run(pause)
    here.until(lambda: len(here.served) == len(trace), seconds=5000)

    times = [at for at, _ in here.loads]
    assert all(later - at >= 60 for at, later in zip(times, times[devices:], strict=False))
    assert here.killed_busy == []
