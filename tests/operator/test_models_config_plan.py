"""Models configs → ModelDeployments, as a decision."""

import json
from typing import Any

import pytest

from stoker_operator.domain.models_config import Config, ConfigsPlan, Outcome, plan_configs, read_configs
from stoker_operator.domain.report import is_report, report, report_events, report_manifest
from tests.support.resources import NOW, resource

Json = dict[str, Any]


def entry(model_id: str = "org/a", **others: Any) -> Json:
    return {"pipeline": "text-to-image", "model_id": model_id} | others


def config_map(name: str = "models", *entries: Any, text: str | None = None, age: int = 0, **metadata: Any) -> Json:
    created = f"2027-01-15T07:0{9 - age}:00Z"
    return {
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "stoker", "uid": f"uid-{name}", "creationTimestamp": created} | metadata,
        "data": {"aiModels.json": text if text is not None else json.dumps(entries)},
    }


def owned(name: str, *, by: str = "models", model_id: str = "org/a", **metadata: Any) -> Json:
    owner = {"kind": "ConfigMap", "name": by, "uid": f"uid-{by}", "controller": True}
    return resource(name, metadata={"name": name, "ownerReferences": [owner], "resourceVersion": "7"} | metadata, modelId=model_id)


def decided(*config_maps: Json, existing: tuple[Json, ...] = ()) -> ConfigsPlan:
    return plan_configs(read_configs(config_maps, existing), existing)


def applied(plan: ConfigsPlan) -> dict[str, Json]:
    return {application.manifest["metadata"]["name"]: application.manifest for _, application in plan.apply}


def deleted(plan: ConfigsPlan) -> list[str]:
    return [each.name for each in plan.delete]


def told(config: Json, plan: ConfigsPlan) -> Json:
    (read,) = read_configs([config], [])
    return report(read, plan.conflicts)


def test_each_entry_becomes_a_resource_that_belongs_to_its_config() -> None:
    made = applied(decided(config_map("models", entry(warm=True, capacity=2), entry("org/b"))))

    assert made.keys() == {"t2i-org-a", "t2i-org-b"}
    first = made["t2i-org-a"]
    assert first["spec"] == {"pipeline": "text-to-image", "modelId": "org/a", "warm": True, "capacity": 2}
    assert first["metadata"]["labels"]["stoker.dev/models-config"] == "models"
    assert first["metadata"]["ownerReferences"][0]["uid"] == "uid-models"


def test_replicas_are_never_written() -> None:
    assert all("replicas" not in made["spec"] for made in applied(decided(config_map("models", entry(warm=True)))).values())


def test_price_flags_and_url_are_carried_over() -> None:
    given = entry(
        price_per_unit=1, pixels_per_unit=4, currency="USD", optimization_flags={"TORCH_COMPILE": True}, url="https://host/x"
    )
    spec = applied(decided(config_map("models", given)))["t2i-org-a"]["spec"]

    assert spec["price"] == {"perUnit": "0.25", "currency": "USD", "unitsPer": "pixel"}
    assert spec["optimization"] == {"compile": True}
    assert spec["external"] == {"endpoints": [{"url": "https://host/x", "capacity": 1}]}


def test_what_stands_is_not_applied_again_and_what_changed_is() -> None:
    config = config_map("models", entry())
    standing = applied(decided(config))["t2i-org-a"]
    standing["metadata"] |= {"uid": "uid-1", "resourceVersion": "1"}

    assert decided(config, existing=(standing,)).apply == ()
    (change,) = decided(config_map("models", entry(warm=True)), existing=(standing,)).apply
    assert change[1].over == "uid-1"


def test_a_removed_entry_is_deleted_only_if_it_still_is_the_one_that_was_seen() -> None:
    (gone,) = decided(config_map("models"), existing=(owned("t2i-org-a"),)).delete

    assert (gone.name, gone.uid, gone.resource_version) == ("t2i-org-a", "uid-t2i-org-a", "7")


def test_a_resource_that_a_person_made_is_neither_changed_nor_deleted() -> None:
    config = config_map("models", entry())
    plan = decided(config, existing=(resource("t2i-org-a"), resource("other")))

    assert (plan.apply, plan.delete) == ((), ())
    assert told(config, plan)["entries"][0]["reason"] == "NameTaken"


def test_a_bad_entry_is_reported_and_its_neighbours_live() -> None:
    config = config_map("models", entry(), {"pipeline": "nope", "model_id": "x"}, "text", entry("org/b", colour="red"))
    plan = decided(config)

    assert applied(plan).keys() == {"t2i-org-a", "t2i-org-b"}
    assert [(each["index"], each["accepted"], each.get("reason")) for each in told(config, plan)["entries"]] == [
        (0, True, None), (1, False, "UnknownPipeline"), (2, False, "NotAnObject"), (3, True, None),
    ]  # fmt: skip
    assert "colour" in told(config, plan)["entries"][3]["remarks"][0]


@pytest.mark.parametrize("bad", [{"price_per_unit": "1"}, {"warm": "yes"}, {"token": "t0ken"}, {"capacity": -1}])
def test_a_bad_edit_of_an_entry_leaves_its_model_as_it_is(bad: Json) -> None:
    plan = decided(
        config_map("models", entry(**bad), entry("org/b")), existing=(owned("t2i-org-a"), owned("t2i-org-c", model_id="org/c"))
    )

    assert applied(plan).keys() == {"t2i-org-b"}
    assert deleted(plan) == ["t2i-org-c"]


@pytest.mark.parametrize(
    ("bad", "removed"),
    [
        (entry(pipeline="text-to-imgae"), ["t2i-org-c"]),
        (entry() | {"model_id": None}, []),
        ("no object", []),
        ({"pipeline": "upscale", "model_id": "org/u"}, ["t2i-org-a", "t2i-org-c"]),
    ],
)
def test_an_entry_that_cannot_be_told_from_a_model_takes_it_from_nobody(bad: Any, removed: list[str]) -> None:
    serving = (owned("t2i-org-a"), owned("t2i-org-c", model_id="org/c"), owned("t2i-org-x", by="others", model_id="org/x"))
    plan = decided(config_map("models", bad), config_map("others", entry("org/x")), existing=serving)

    assert deleted(plan) == removed


def test_a_model_whose_entry_is_refused_is_taken_over_by_no_younger_config() -> None:
    older, younger = config_map("old", entry(warm="yes"), age=1), config_map("young", entry())
    plan = decided(older, younger, existing=(owned("t2i-org-a", by="old"),))

    assert (plan.apply, plan.delete) == ((), ())
    assert plan.conflicts["young", "t2i-org-a"].reason is Outcome.LISTED_ELSEWHERE


@pytest.mark.parametrize("text", ["{", "{}", "null"])
def test_a_config_that_is_no_list_changes_nothing_and_says_so(text: str) -> None:
    config = config_map("models", text=text)
    plan = decided(config, existing=(owned("t2i-org-a"),))

    assert (plan.apply, plan.delete) == ((), ())
    assert "nothing was changed" in told(config, plan)["error"]


def test_a_config_without_the_key_changes_nothing() -> None:
    config = config_map("models") | {"data": None}

    assert decided(config, existing=(owned("t2i-org-a"),)).delete == ()
    assert "aiModels.json" in told(config, decided(config))["error"]


def test_a_config_whose_name_is_too_long_for_a_label_changes_nothing() -> None:
    config = config_map("m" * 64, entry())

    assert decided(config).apply == ()
    assert "63" in told(config, decided(config))["error"]


def test_a_config_that_is_being_deleted_keeps_its_resources_for_the_garbage_collector() -> None:
    leaving = config_map("models", entry(), deletionTimestamp="2027-01-15T08:00:00Z")
    (config,) = read_configs([leaving], [])

    assert config.leaving
    assert decided(leaving, existing=(owned("t2i-org-a"),)).delete == ()


def test_of_two_configs_that_want_one_model_the_older_gets_it() -> None:
    older, younger = config_map("b", entry(), age=1), config_map("a", entry())
    plan = decided(younger, older)

    assert [name for name, _ in plan.apply] == ["b"]
    assert plan.conflicts["a", "t2i-org-a"].reason is Outcome.LISTED_ELSEWHERE
    assert "models config b" in plan.conflicts["a", "t2i-org-a"].message


def test_an_older_config_takes_a_model_over_without_a_deletion() -> None:
    older, younger = config_map("old", entry(), age=1), config_map("young", entry())
    plan = decided(older, younger, existing=(owned("t2i-org-a", by="young"),))

    assert plan.delete == ()
    assert applied(plan)["t2i-org-a"]["metadata"]["ownerReferences"][0]["name"] == "old"


def test_a_config_that_cannot_be_read_keeps_what_it_has_from_others() -> None:
    broken, other = config_map("broken", text="{", age=1), config_map("other", entry())
    plan = decided(broken, other, existing=(owned("t2i-org-a", by="broken"),))

    assert (plan.apply, plan.delete) == ((), ())
    assert plan.conflicts["other", "t2i-org-a"].reason is Outcome.LISTED_ELSEWHERE


def test_the_resources_of_a_config_map_that_is_none_any_more_are_deleted() -> None:
    assert deleted(decided(existing=(owned("t2i-org-a"), resource("mine")))) == ["t2i-org-a"]


def test_a_resource_on_its_way_out_is_waited_for() -> None:
    leaving = owned("t2i-org-a", deletionTimestamp="2027-01-15T08:00:00Z")

    for config in (config_map("models", entry()), config_map("models")):
        plan = decided(config, existing=(leaving,))
        assert (plan.apply, plan.delete) == ((), ())


def test_a_model_whose_name_was_another_models_replaces_it() -> None:
    plan = decided(config_map("models", entry("Org A")), existing=(owned("t2i-org-a", model_id="org/a"),))

    assert (plan.apply, deleted(plan)) == ((), ["t2i-org-a"])


def names(plan: ConfigsPlan) -> dict[str, str]:
    """The names of the resources to apply, by model id."""
    return {manifest["spec"]["modelId"]: name for name, manifest in applied(plan).items()}


def test_two_models_that_would_share_a_name_are_told_apart_in_whichever_configs_they_stand() -> None:
    together = names(decided(config_map("models", entry("org/a"), entry("org-a"))))
    apart = names(decided(config_map("one", entry("org/a")), config_map("two", entry("org-a"))))

    assert together == apart
    assert together["org/a"].startswith("t2i-org-a-")
    assert len(set(together.values())) == 2


@pytest.mark.parametrize("serves", [entry("org/a"), entry("org/a", warm="yes")], ids=["accepted", "refused"])
def test_a_model_keeps_its_name_when_another_one_that_would_share_it_is_added(serves: Json) -> None:
    running = owned("t2i-org-a", model_id="org/a")
    plan = decided(config_map("models", serves, entry("org-a")), existing=(running,))

    assert deleted(plan) == []
    assert names(plan)["org-a"].startswith("t2i-org-a-")
    assert names(plan).get("org/a") in ("t2i-org-a", None)


def test_a_model_keeps_its_name_when_the_other_one_is_removed() -> None:
    given = names(decided(config_map("models", entry("org/a"), entry("org-a"))))
    plan = decided(config_map("models", entry("org/a")), existing=(owned(given["org/a"], model_id="org/a"),))

    assert (names(plan), deleted(plan)) == ({"org/a": given["org/a"]}, [])


def test_a_resource_of_a_pipeline_that_this_version_does_not_know_keeps_its_place() -> None:
    unknown = owned("t2i-org-a")
    unknown["spec"]["pipeline"] = "text-to-speech"

    assert decided(config_map("models", text="{"), existing=(unknown,)).delete == ()


def test_a_model_that_is_listed_twice_is_one_resource_and_two_accepted_entries() -> None:
    config = config_map("models", entry(capacity=2), entry(capacity=3))

    assert applied(decided(config))["t2i-org-a"]["spec"]["capacity"] == 5
    assert [each["name"] for each in told(config, decided(config))["entries"]] == ["t2i-org-a"] * 2


def only(config: Json) -> Config:
    (read,) = read_configs([config], [])
    return read


def test_a_report_is_known_by_its_owner_or_by_our_label_where_it_has_none() -> None:
    config = only(config_map("models", entry()))
    metadata = report_manifest(config, report(config, {}))["metadata"]
    other = {"kind": "ConfigMap", "name": "else", "controller": True}

    assert is_report(config, {"metadata": metadata})
    assert is_report(config, {"metadata": metadata | {"ownerReferences": []}})
    assert not is_report(config, {"metadata": metadata | {"ownerReferences": [other]}})
    assert not is_report(config, {"metadata": {"name": "models-report"}})


def test_an_event_tells_each_refusal_that_the_former_report_did_not() -> None:
    first = only(config_map("models", {"pipeline": "nope"}))
    second = only(config_map("models", {"pipeline": "nope"}, "text"))
    former = report_manifest(first, report(first, {}))

    assert [each["reason"] for each in report_events(first, report(first, {}), None, NOW)] == ["UnknownPipeline"]
    (event,) = report_events(second, report(second, {}), former, NOW)
    assert (event["type"], event["reason"]) == ("Warning", "NotAnObject")
    assert event["message"].startswith("entry 1 is refused: ")
    assert event["involvedObject"]["name"] == "models"


def test_an_unreadable_config_is_told_once() -> None:
    broken = only(config_map("models", text="{"))
    document = report(broken, {})

    (event,) = report_events(broken, document, {"data": {"report.json": "not json"}}, NOW)
    assert event["reason"] == "Unreadable"
    assert report_events(broken, document, report_manifest(broken, document), NOW) == []
