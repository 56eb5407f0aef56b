"""What is logged of jobs that fail: enough to find the place, nothing that a caller sent."""

import logging
from collections.abc import Sequence

import pytest

from stoker_worker.app.error_report import report
from stoker_worker.engine.protocol import EngineError, Outcome, Row, Steps
from stoker_worker.engine.stub import StubEngine, StubScript
from tests.worker.test_http import QUICK, settings, upload, worker

SECRET = "a-prompt-that-is-nobodys-business"


class Quoting(StubEngine):
    """A model whose errors quote what it was given, as libraries do, and errors that led to them."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__(StubScript(step_seconds=0))
        self._kind = kind

    def run(self, rows: Sequence[Row], steps: Steps) -> Outcome:
        prompt = getattr(rows[0].job, "prompt", "")
        known: dict[str, Outcome] = {}
        try:
            return known[prompt]
        except KeyError as error:
            message = f"cannot do {prompt!r}"
            raise self._kind(message) from error


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError, EngineError])
async def test_a_failed_job_is_logged_with_its_place_and_without_its_prompt(
    caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with worker(settings(), Quoting(kind)) as (client, _):
        answer = await client.post("/text-to-image", json=QUICK | {"prompt": SECRET})

    assert answer.status_code == 500
    assert f"a job failed: {kind.__name__} (" in caplog.text
    assert "test_error_report.py:" in caplog.text
    assert "after KeyError" in caplog.text
    assert SECRET not in caplog.text


async def test_nothing_that_is_refused_is_logged_with_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fields = {"prompt": SECRET, "model_id": "", "num_inference_steps": 1}
    async with worker(settings()) as (client, _):
        for bad in ({"width": 65}, {"seed": SECRET}, {"model_id": SECRET}, {"num_images_per_prompt": 9}, {SECRET: 1, "width": 0}):
            assert (await client.post("/text-to-image", json=QUICK | fields | bad)).status_code in (400, 422)
        assert (await client.post("/text-to-image", content=SECRET.encode())).status_code == 400
    async with worker(settings("image-to-image")) as (client, _):
        for files in ({"image": ("x.png", SECRET.encode(), "image/png")}, upload((65, 65)), {"other": SECRET.encode()}):
            assert (await client.post("/image-to-image", data=fields, files=files)).status_code == 400

    assert SECRET not in caplog.text


def test_a_report_is_one_line() -> None:
    def fail() -> None:
        message = "two\nlines"
        raise ValueError(message)

    with pytest.raises(ValueError, match="two") as caught:
        fail()

    assert report(caught.value).count("\n") == 0
    assert report(caught.value).startswith("ValueError (test_error_report.py:")
