import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_contracts.models_config import EntryReason, ModelEntry, ModelsConfig, parse
from stoker_contracts.pipelines import Pipeline
from stoker_contracts.prices import EntryPrice
from stoker_contracts.resources.endpoints import MAX_ENDPOINTS
from stoker_contracts.resources.model_deployment import External, ExternalEndpoint, ModelDeploymentSpec, Price
from stoker_contracts.urls import EntryUrl


def entry(**fields: Any) -> dict[str, Any]:
    return {"pipeline": "text-to-image", "model_id": "stabilityai/sdxl-turbo"} | fields


def parsed(*entries: object) -> ModelsConfig:
    return parse(json.dumps(entries))


def spec_of(model: ModelEntry) -> ModelDeploymentSpec:
    """What the API server is asked to take for an accepted entry."""
    return ModelDeploymentSpec(
        pipeline=model.pipeline,
        model_id=model.model_id,
        capacity=model.capacity,
        price=Price(per_unit=model.price.per_unit, currency=model.price.currency) if model.price else None,
        external=External(
            endpoints=[ExternalEndpoint(url=each.url, capacity=each.capacity, token_key=each.token_key) for each in model.urls]
        )
        if model.urls
        else None,
    )


def test_an_entry_becomes_a_model_with_go_livepeers_defaults() -> None:
    (model,) = parsed(entry()).models

    assert (model.name, model.pipeline, model.model_id) == (
        "t2i-stabilityai-sdxl-turbo",
        Pipeline.TEXT_TO_IMAGE,
        "stabilityai/sdxl-turbo",
    )
    assert (model.warm, model.capacity, model.urls, model.price) == (False, 1, (), None)


def test_a_bad_entry_is_refused_and_its_neighbours_live() -> None:
    config = parsed(entry(), entry(pipeline="text-to-text"), entry(pipeline="image-to-video"))

    assert [model.pipeline for model in config.models] == [Pipeline.TEXT_TO_IMAGE, Pipeline.IMAGE_TO_VIDEO]
    assert [(each.index, each.reason) for each in config.refusals] == [(1, EntryReason.UNKNOWN_PIPELINE)]


@pytest.mark.parametrize(
    ("bad", "reason", "words"),
    [
        ("no object", EntryReason.NOT_AN_OBJECT, "JSON object"),
        (entry(pipeline=""), EntryReason.UNKNOWN_PIPELINE, "text-to-image, image-to-image, image-to-video"),
        (entry(pipeline=None), EntryReason.UNKNOWN_PIPELINE, "must be one of"),
        (entry(model_id=""), EntryReason.MODEL_ID_INVALID, "must name a model"),
        (entry(model_id=7), EntryReason.MODEL_ID_INVALID, "must name a model"),
        (entry(model_id="m" * 257), EntryReason.MODEL_ID_INVALID, "256"),
        (entry(warm="yes"), EntryReason.FIELD_INVALID, "warm must be true or false"),
        (entry(capacity=-1), EntryReason.FIELD_INVALID, "from 0 to 64"),
        (entry(capacity=True), EntryReason.FIELD_INVALID, "from 0 to 64"),
        (entry(price_per_unit="100"), EntryReason.PRICE_INVALID, "without quotes"),
        (entry(price_per_unit=None), EntryReason.PRICE_INVALID, "without quotes"),
        (entry(price_per_unit=-0.5), EntryReason.PRICE_INVALID, "negative"),
        (entry(price_per_unit=1, pixels_per_unit=0), EntryReason.PRICE_INVALID, "greater than 0"),
        (entry(price_per_unit=0, pixels_per_unit=0), EntryReason.PRICE_INVALID, "greater than 0"),
        (entry(price_per_unit=1, currency=5), EntryReason.PRICE_INVALID, "currency"),
        (entry(price_per_unit=1, gateway="0x5f1c"), EntryReason.PRICE_INVALID, "shown to everybody"),
        (entry(price_per_unit=1, gateway=["0x5f1c"]), EntryReason.PRICE_INVALID, "shown to everybody"),
        (entry(price_per_unit=1, currency="c" * 17), EntryReason.PRICE_INVALID, "at most 16"),
        (entry(price_per_unit=1, currency="\ud800"), EntryReason.PRICE_INVALID, "currency"),
        (entry(price_per_unit=10**64), EntryReason.PRICE_INVALID, "at most 64"),
        (entry(model_id="\ud800" + "a" * 60), EntryReason.MODEL_ID_INVALID, "printable"),
        (entry(url="http://host:port"), EntryReason.URL_INVALID, "http:// or https://"),
        (entry(url="http://host:99999"), EntryReason.URL_INVALID, "http:// or https://"),
        (entry(url="HTTP://host"), EntryReason.URL_INVALID, "http:// or https://"),
        (entry(url="http://host/a b"), EntryReason.URL_INVALID, "percent-encoded"),
        (entry(url="http://host/" + "a" * 501), EntryReason.URL_INVALID, "at most 512"),
        (entry(token_key="../else"), EntryReason.TOKEN_KEY_INVALID, "token Secret"),
        (entry(url="http://host", token_key="k" * 254), EntryReason.TOKEN_KEY_INVALID, "token Secret"),
        (entry(url="host:8000"), EntryReason.URL_INVALID, "http:// or https://"),
        (entry(url="ftp://host"), EntryReason.URL_INVALID, "http:// or https://"),
        (entry(url="http://"), EntryReason.URL_INVALID, "host"),
        (entry(url="http://[bad"), EntryReason.URL_INVALID, "host"),
        (entry(url="https://me:secret@host"), EntryReason.URL_INVALID, "no user name"),
        (entry(url=5), EntryReason.URL_INVALID, "http:// or https://"),
        (entry(token="t0ken"), EntryReason.TOKEN_IN_CONFIG, "token_key"),
        (entry(url="http://host/?a=b"), EntryReason.URL_INVALID, "query"),
        (entry(url="http://host/#a"), EntryReason.URL_INVALID, "fragment"),
        (entry(url="http://host", token_key="../else"), EntryReason.TOKEN_KEY_INVALID, "token Secret"),
        (entry(url="http://host", token_key=7), EntryReason.TOKEN_KEY_INVALID, "token Secret"),
        (entry(optimization_flags=["SFAST"]), EntryReason.FIELD_INVALID, "object of flags"),
        (entry(optimization_flags={"SFAST": 1}), EntryReason.FIELD_INVALID, "true, false or a string"),
    ],
)
def test_each_kind_of_bad_entry_is_refused_in_words(bad: object, reason: EntryReason, words: str) -> None:
    config = parsed(bad)

    (refusal,) = config.refusals
    assert refusal.reason is reason
    assert words in refusal.message
    assert config.models == ()


@pytest.mark.parametrize(
    ("bad", "may_mean"),
    [
        (entry(warm="yes"), ["t2i turbo"]),
        (entry(token="t0ken"), ["t2i turbo"]),
        (entry(pipeline="text-to-imgae"), ["t2i turbo", "i2i turbo"]),
        (entry(model_id=7), ["t2i turbo", "t2i other"]),
        (entry(pipeline=None, model_id=""), ["t2i turbo", "i2i turbo", "t2i other"]),
        ("no object", ["t2i turbo", "i2i turbo", "t2i other"]),
    ],
)
def test_a_refusal_may_mean_whatever_agrees_with_what_can_be_read(bad: object, may_mean: list[str]) -> None:
    (refusal,) = parsed(bad).refusals

    models = {
        "t2i turbo": (Pipeline.TEXT_TO_IMAGE, "stabilityai/sdxl-turbo"),
        "i2i turbo": (Pipeline.IMAGE_TO_IMAGE, "stabilityai/sdxl-turbo"),
        "t2i other": (Pipeline.TEXT_TO_IMAGE, "other/model"),
    }
    assert [name for name, model in models.items() if refusal.may_mean(model)] == may_mean


def test_a_refused_token_does_not_stand_in_the_report() -> None:
    (refusal,) = parsed(entry(token="t0ken-of-mine")).refusals

    assert "t0ken-of-mine" not in refusal.message


def test_a_file_on_ones_own_host_may_hold_tokens_which_nothing_shows() -> None:
    config = parse(json.dumps([entry(url="https://host/a", token="t0ken", capacity=2)]), with_tokens=True)

    (model,) = config.models
    assert model.urls == (EntryUrl("https://host/a", 2, None, "t0ken"),)
    assert "t0ken" not in repr(config)


def test_several_urls_of_a_model_are_kept_apart_with_their_keys_and_capacities() -> None:
    (model,) = parsed(entry(url="http://a", capacity=2), entry(url="https://b/base", token_key="provider-b")).models

    assert model.urls == (EntryUrl("http://a", 2), EntryUrl("https://b/base", 1, "provider-b"))


def test_a_model_is_run_here_or_by_somebody_else_and_not_both() -> None:
    config = parsed(entry(url="http://a"), entry())

    assert [each.reason for each in config.refusals] == [EntryReason.OURS_AND_EXTERNAL]
    assert len(config.models[0].urls) == 1


@pytest.mark.parametrize("token", [7, ["a"], {"a": 1}])
def test_a_token_that_is_no_string_is_refused_even_where_tokens_may_stand(token: object) -> None:
    (refusal,) = parse(json.dumps([entry(url="http://a", token=token)]), with_tokens=True).refusals

    assert refusal.reason is EntryReason.FIELD_INVALID


def test_the_same_model_twice_adds_its_capacities() -> None:
    (model,) = parsed(entry(capacity=2), entry(), entry(capacity=3)).models

    assert model.capacity == 6
    assert model.indices == (0, 1, 2)


def test_a_model_listed_warm_and_cold_keeps_its_first_entry() -> None:
    config = parsed(entry(warm=True), entry(warm=False))

    assert [model.warm for model in config.models] == [True]
    assert [each.reason for each in config.refusals] == [EntryReason.WARM_AND_COLD]


def test_models_whose_names_would_be_equal_get_distinct_stable_names() -> None:
    both = parsed(entry(model_id="a/b"), entry(model_id="a-b")).models
    turned = parsed(entry(model_id="a-b"), entry(model_id="a/b")).models

    assert len({model.name for model in both}) == 2
    assert {model.model_id: model.name for model in both} == {model.model_id: model.name for model in turned}


def test_more_urls_than_a_resource_takes_are_refused_one_by_one() -> None:
    config = parsed(*[entry(url=f"http://host-{number}") for number in range(MAX_ENDPOINTS + 2)])

    assert [len(model.urls) for model in config.models] == [MAX_ENDPOINTS]
    assert [each.index for each in config.refusals] == [MAX_ENDPOINTS, MAX_ENDPOINTS + 1]


def test_a_token_key_without_a_url_is_remarked() -> None:
    config = parsed(entry(token_key="provider"))

    assert [(each.index, each.message) for each in config.remarks] == [(0, "token_key has no effect without a url")]


def test_known_optimization_flags_are_translated_and_unknown_ones_remarked() -> None:
    config = parsed(entry(optimization_flags={"TORCH_COMPILE": True, "BFLOAT16": "false", "SFAST": True}))

    assert config.models[0].optimization == {"compile": True, "bfloat16": False}
    assert [remark.index for remark in config.remarks] == [0]
    assert "SFAST" in config.remarks[0].message


@pytest.mark.parametrize("gateway", [None, "", "default"])
def test_a_price_for_every_gateway_is_a_price(gateway: str | None) -> None:
    assert parsed(entry(price_per_unit=1, gateway=gateway)).models[0].price == EntryPrice("1", "wei")


def test_a_further_entry_that_differs_in_what_the_first_decides_is_remarked_upon() -> None:
    flags = {"BFLOAT16": True}
    config = parsed(
        entry(price_per_unit=1, optimization_flags=flags),
        entry(),
        entry(price_per_unit=1, optimization_flags=flags),
        entry(price_per_unit=2, optimization_flags={"BFLOAT16": False}),
    )

    assert config.models[0].price == EntryPrice("1", "wei")
    assert [(each.index, each.message.split(" of ")[0]) for each in config.remarks] == [
        (3, "the price"),
        (3, "the optimization_flags"),
    ]


def test_an_unknown_key_is_a_remark_and_no_refusal() -> None:
    config = parsed(entry(modelid="typo"))

    assert len(config.models) == 1
    assert "'modelid'" in config.remarks[0].message


@pytest.mark.parametrize("text", ["", "{", "{}", '"text"', "[" * 100_000, "null", "[" + "{}," * 500 + "{}]"])
def test_a_file_that_is_no_list_of_entries_changes_nothing(text: str) -> None:
    config = parse(text)

    assert config.error
    assert config.models == ()


words = st.text(st.characters(exclude_categories=()), max_size=80)
"""With the halves of characters that JSON may hold as well."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
numbers = st.from_regex(
    r"-?(0|[1-9][0-9]{0,70})([.][0-9]{1,70})?([eE][+-]?[0-9]{1,25})?", fullmatch=True, alphabet="0123456789.eE+-"
)
urls = st.from_regex(r"[hH]ttps?://[a-z\[\]:% .@]{0,8}(:[0-9a]{0,6})?(/[ -~]{0,8})?", fullmatch=True).map(json.dumps)
fields = st.sampled_from(
    [
        "pipeline", "model_id", "url", "warm", "capacity", "token", "token_key", "price_per_unit", "pixels_per_unit", "currency",
        "optimization_flags",
    ]
)  # fmt: skip


def written(fields: dict[str, str]) -> str:
    """An entry as JSON text; `fields` are JSON texts themselves."""
    pairs = {"pipeline": '"text-to-image"', "model_id": '"m"'} | fields
    return "{" + ", ".join(f'"{key}": {value}' for key, value in pairs.items()) + "}"


@given(st.lists(st.dictionaries(fields, json_values.map(json.dumps) | numbers | urls, max_size=8), max_size=4), st.booleans())
def test_every_entry_is_either_refused_or_becomes_a_resource_whatever_it_holds(
    entries: list[dict[str, str]],
    with_tokens: bool,  # noqa: FBT001 - Hypothesis chooses it
) -> None:
    config = parse(f"[{','.join(map(written, entries))}]", with_tokens=with_tokens)

    assert config.error is None
    spoken_for = [index for model in config.models for index in model.indices] + [each.index for each in config.refusals]
    assert sorted(spoken_for) == list(range(len(entries)))
    for model in config.models:
        spec_of(model).model_dump_json()
