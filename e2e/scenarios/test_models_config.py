"""A models config becomes resources, and goes on being followed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import models_config
from stoker_contracts import names
from tests.support.waiting import eventually

NAME = "studio"
ONE = {"pipeline": "text-to-image", "model_id": "studio/one"}
TWO = {"pipeline": "image-to-image", "model_id": "studio/two"}
THREE = {"pipeline": "image-to-video", "model_id": "studio/three"}
BAD = {"pipeline": "text-to-text", "model_id": "studio/bad"}


@pytest.fixture
def config(stub: Release) -> Iterator[Release]:
    """With a models config of three good entries and a bad one."""
    stub.apply(models_config(NAME, [ONE, BAD, TWO, THREE]))
    yield stub
    stub.delete("configmap", NAME)
    eventually(lambda: not made(stub), seconds=60)


def made(release: Release) -> dict[str, dict[str, Any]]:
    """The specs of the resources that were made of the config, by model id."""
    found = release.list(RESOURCES, f"{names.LABEL_MODELS_CONFIG}={NAME}")
    return {each["spec"]["modelId"]: each["spec"] for each in found}


def report(release: Release) -> dict[str, Any]:
    """What the operator says of the config."""
    found = release.get("configmap", f"{NAME}{names.REPORT_SUFFIX}")
    return dict(json.loads(found["data"][names.REPORT_KEY])) if found else {}


def test_a_bad_entry_is_reported_and_its_neighbours_live(config: Release) -> None:
    specs = eventually(lambda: made(config) if len(made(config)) == 3 else {})
    told = eventually(lambda: json.dumps(report(config)) if report(config) else "")
    events = eventually(lambda: config.kubectl("get", "events", "--field-selector", f"involvedObject.name={NAME}"))

    assert set(specs) == {"studio/one", "studio/two", "studio/three"}
    assert "UnknownPipeline" in told
    assert "pipeline must be one of text-to-image, image-to-image, image-to-video" in told
    assert "pipeline must be one of" in events


def test_entries_are_changed_removed_and_added_while_running(config: Release) -> None:
    eventually(lambda: len(made(config)) == 3)

    config.apply(models_config(NAME, [ONE | {"capacity": 3}, THREE, {"pipeline": "text-to-image", "model_id": "studio/four"}]))

    eventually(lambda: set(made(config)) == {"studio/one", "studio/three", "studio/four"})
    eventually(lambda: made(config)["studio/one"]["capacity"] == 3)


def test_a_config_that_is_no_list_changes_nothing_and_is_reported(config: Release) -> None:
    eventually(lambda: len(made(config)) == 3)
    broken = models_config(NAME, [])
    broken["data"][names.MODELS_CONFIG_KEY] = '{"pipeline": '

    config.apply(broken)

    eventually(lambda: "not valid JSON" in json.dumps(report(config)))
    assert set(made(config)) == {"studio/one", "studio/two", "studio/three"}
