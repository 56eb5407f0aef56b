"""Whether an object still is what was intended."""

from typing import Any

import pytest

from stoker_operator.domain.intent import ANNOTATION_INTENT, fulfilled, stamped


@pytest.mark.parametrize(
    ("intended", "actual"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "INJECTED", "value": "x"}, {"name": "A", "value": "1"}]}),
        (
            {"mounts": [{"name": "v", "mountPath": "/a"}]},
            {"mounts": [{"name": "v", "mountPath": "/b"}, {"name": "v", "mountPath": "/a"}]},
        ),
        ({"limits": {"cpu": "1000m", "memory": "1024Mi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}),
        ({"value": ""}, {}),
        ({"items": []}, {}),
        ({"drop": ["ALL"]}, {"drop": ["ALL"]}),
    ],
)
def test_defaults_and_additions_of_others_are_no_difference(intended: Any, actual: Any) -> None:
    assert fulfilled(intended, actual)


@pytest.mark.parametrize(
    ("intended", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": 1}, None),
        ({"flag": False}, {}),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "2"}]}),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": []}),
        ({"env": [{"name": "A", "value": "1"}]}, {}),
        ({"drop": ["ALL"]}, {"drop": ["ALL", "MORE"]}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "a lot"}}),
        ({"name": "1000m"}, {"name": "1"}),
    ],
)
def test_what_is_missing_or_changed_is_a_difference(intended: Any, actual: Any) -> None:
    assert not fulfilled(intended, actual)


def test_a_stamp_follows_from_the_intent_and_keeps_other_annotations() -> None:
    plain: dict[str, Any] = {"metadata": {"name": "a", "annotations": {"x": "y"}}, "spec": {"b": 1}}
    stamp = stamped(plain)["metadata"]["annotations"]

    assert stamp["x"] == "y"
    assert stamped(plain)["metadata"]["annotations"] == stamp
    assert stamped(plain | {"spec": {}})["metadata"]["annotations"][ANNOTATION_INTENT] != stamp[ANNOTATION_INTENT]
    assert ANNOTATION_INTENT not in plain["metadata"]["annotations"]
