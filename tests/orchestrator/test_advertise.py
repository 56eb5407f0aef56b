import pytest

from stoker_contracts.capabilities import Capabilities
from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.domain.advertise import Advertiser, verdict
from stoker_orchestrator.domain.cost import declared_cost
from stoker_orchestrator.domain.events import FleetEvent, ModelGone, ModelSeen, Synced
from stoker_orchestrator.domain.model import EndpointState, Model, Obstacle
from stoker_orchestrator.domain.registry import Registry
from tests.support.fleet import endpoint, model

BROKEN = Obstacle("LoadFailed", "no such layer")


def registry(*events: FleetEvent) -> Registry:
    made = Registry()
    for event in events:
        made.apply(event, now=0)
    return made


def document(made: Registry, work: float = 0) -> Capabilities:
    return Advertiser("o").document(made, lambda _: work)


def test_a_model_with_a_ready_worker_is_warm_and_one_without_is_cold() -> None:
    found = document(registry(ModelSeen(model("a")), ModelSeen(model("b")), endpoint("1", "a", capacity=2)))

    (capability,) = found.capabilities
    assert (capability.pipeline, capability.capability) == (Pipeline.TEXT_TO_IMAGE, 27)
    assert [(offer.model_id, offer.warm, offer.capacity) for offer in capability.models] == [
        ("org/a", True, 2),
        ("org/b", False, 0),
    ]


def test_a_draining_worker_is_not_advertised() -> None:
    (capability,) = document(registry(ModelSeen(model()), endpoint("1", state=EndpointState.DRAINING))).capabilities

    assert not capability.models[0].warm


@pytest.mark.parametrize("unserved", [model(obstacle=BROKEN), model(scaling=None)])
def test_a_model_that_cannot_be_served_is_not_advertised_and_its_condition_says_why(unserved: Model) -> None:
    made = registry(ModelSeen(unserved))

    assert document(made).capabilities[0].models == ()
    assert verdict(made, unserved).status == "False"
    assert verdict(made, unserved).reason == "NotReady"


def test_the_condition_tells_warm_from_cold() -> None:
    made = registry(ModelSeen(model("a")), ModelSeen(model("b")), endpoint("1", "a"))

    assert [(verdict(made, each).status, verdict(made, each).reason) for each in made.models] == [
        ("True", "Warm"),
        ("True", "Cold"),
    ]


def test_the_generation_grows_by_one_with_each_change_and_only_then() -> None:
    made, advertiser = registry(ModelSeen(model())), Advertiser("o")

    def generation() -> int:
        return advertiser.document(made, lambda _: 0).generation

    first = generation()
    assert generation() == first
    made.apply(endpoint("1"), now=0)
    assert generation() == first + 1
    made.apply(ModelGone("m"), now=0)
    assert generation() == first + 2


def test_two_resources_of_one_model_are_one_offer() -> None:
    events = [ModelSeen(model("a", model_id="org/x")), ModelSeen(model("b", model_id="org/x"))]
    (capability,) = document(registry(*events, endpoint("1", "a"), endpoint("2", "b", 3))).capabilities

    assert [(offer.model_id, offer.capacity) for offer in capability.models] == [("org/x", 4)]


def test_the_wait_is_estimated_from_what_jobs_took_so_far() -> None:
    made = registry(ModelSeen(model()), endpoint("1"))
    made.observe(made.endpoints[0], cost=1.0, seconds=2.0)
    assert document(made).capabilities[0].models[0].estimated_wait_ms == 0

    made.take(made.endpoints[0], 1)
    assert document(made, work=2.5).capabilities[0].models[0].estimated_wait_ms == 6000


def test_of_two_resources_with_one_model_the_warm_one_is_found() -> None:
    made = registry(ModelSeen(model("a", model_id="org/x")), ModelSeen(model("b", model_id="org/x")), endpoint("1", "b"), Synced())

    found = made.find(Pipeline.TEXT_TO_IMAGE, "org/x")
    assert found is not None
    assert found.name == "b"
    assert made.find(Pipeline.IMAGE_TO_VIDEO, "org/x") is None
    assert made.synced


def test_a_job_of_more_steps_pixels_or_frames_costs_more() -> None:
    small = declared_cost(Pipeline.TEXT_TO_IMAGE, {"num_inference_steps": 1, "width": 512, "height": 512})
    more = declared_cost(Pipeline.TEXT_TO_IMAGE, {"num_inference_steps": "2", "width": "512", "height": "512"})
    video = declared_cost(Pipeline.IMAGE_TO_VIDEO, {"num_inference_steps": 1, "width": 512, "height": 512})

    assert small == pytest.approx(0.262144)
    assert more == pytest.approx(2 * small)
    assert video == pytest.approx(25 * small)


@pytest.mark.parametrize("bad", [None, "many", -5, 0, "nan", [1]])
def test_a_bad_number_costs_what_the_default_costs(bad: object) -> None:
    default = declared_cost(Pipeline.IMAGE_TO_IMAGE, {})

    assert declared_cost(Pipeline.IMAGE_TO_IMAGE, {"num_inference_steps": bad}) == default
