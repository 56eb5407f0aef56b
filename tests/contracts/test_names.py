import re

from hypothesis import given
from hypothesis import strategies as st

from stoker_contracts.names import MAX_NAME, resource_name, resource_names, slug
from stoker_contracts.pipelines import BY_ROUTE, FACTS, Pipeline


@given(st.sampled_from(Pipeline), st.text(max_size=300), st.booleans())
def test_a_resource_name_is_a_valid_short_label(pipeline: Pipeline, model_id: str, distinct: bool) -> None:  # noqa: FBT001
    name = resource_name(pipeline, model_id, distinct=distinct)

    assert len(name) <= MAX_NAME
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)


def test_a_name_that_had_to_be_cut_stays_distinct() -> None:
    names = {resource_name(Pipeline.TEXT_TO_IMAGE, "m" * 100 + tail) for tail in "ab"}

    assert len(names) == 2


def test_a_model_id_without_letters_still_has_a_slug() -> None:
    assert slug("///") == "model"


def test_routes_and_capability_numbers_are_livepeers() -> None:
    assert {facts.route: facts.capability for facts in FACTS.values()} == {
        "/text-to-image": 27,
        "/image-to-image": 28,
        "/image-to-video": 29,
    }
    assert BY_ROUTE["/image-to-video"] is Pipeline.IMAGE_TO_VIDEO


def test_of_models_that_would_share_a_name_the_one_that_has_it_keeps_it() -> None:
    first, second = (Pipeline.TEXT_TO_IMAGE, "a/b"), (Pipeline.TEXT_TO_IMAGE, "a-b")
    hashed = resource_name(*second, distinct=True)

    assert resource_names([first, second], held={first: "t2i-a-b"}) == {first: "t2i-a-b", second: hashed}
    assert resource_names([second], held={}) == {second: "t2i-a-b"}
    assert resource_names([second], held={second: hashed}) == {second: hashed}
