"""What a worker is told by its environment, and what it refuses at its start."""

from pathlib import Path

import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_contracts.worker import Variable
from stoker_worker.app.process import main
from stoker_worker.app.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PIPELINE", "text-to-text"),
        ("PIPELINE", ""),
        ("MODEL_ID", ""),
        ("MODEL_ID", "x" * 257),
        ("ENGINE", "magic"),
        ("CAPACITY", "0"),
        ("CAPACITY", "65"),
        ("MAX_BATCH", "0"),
        ("MAX_BATCH", "65"),
        ("STEP_TIMEOUT_SECONDS", "0"),
        ("PARK_AFTER_SECONDS", "-1"),
        ("PORT", "65536"),
        ("DRAIN_SECONDS", "-1"),
        ("DEVICE", "tpu"),
        ("GPU_MEMORY_BUDGET_BYTES", "0"),
        ("OPTIMIZATION", "warp"),
        ("WARM_SHAPES", "512"),
        ("WARM_SHAPES", "512x512,0x512"),
        ("STUB_SCRIPT", "{"),
        ("STUB_SCRIPT", '{"step_seconds": -1}'),
        ("STUB_SCRIPT", '{"surprise": 1}'),
        ("LOG_LEVEL", "LOUD"),
        ("WORKER_MAX_STEPS", "0"),
        ("WORKER_MAX_PIXELS", "1"),
        ("WORKER_MAX_IMAGES", "none"),
    ],
)
def test_a_bad_setting_ends_the_start_with_the_name_of_its_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    message = tmp_path / "termination-message"
    good = {"PIPELINE": "text-to-image", "MODEL_ID": "m", "ENGINE": "stub", "TERMINATION_MESSAGE_PATH": str(message)}
    for name, text in (good | {variable: value}).items():
        monkeypatch.setenv(name, text)

    assert main() == 2
    assert message.read_text().startswith(f"SettingsInvalid: {variable}")


def test_every_setting_is_a_variable_that_others_know_by_name_and_every_variable_is_a_setting() -> None:
    assert {name.upper() for name in Settings.model_fields} == set(Variable)


def test_the_version_is_told_by_the_image_and_by_no_variable_that_may_mean_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERSION", "of something else")
    monkeypatch.setenv(Variable.STOKER_VERSION, "1.2.3")

    assert Settings(pipeline=Pipeline.TEXT_TO_IMAGE, model_id="m").stoker_version == "1.2.3"


def test_switches_may_have_blanks_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"PIPELINE": "text-to-image", "MODEL_ID": "m", "OPTIMIZATION": "compile, bfloat16"}.items():
        monkeypatch.setenv(name, text)

    assert Settings().switches == {"compile", "bfloat16"}
