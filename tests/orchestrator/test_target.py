"""What a job is declared to cost, and how much of its body is waited for to know that."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_orchestrator.app.body import Body, Budget
from stoker_orchestrator.app.target import Path, Target, find_target
from stoker_orchestrator.domain.events import ModelSeen
from stoker_orchestrator.domain.registry import Registry
from tests.support.fleet import model

VALUES = {"model_id": "org/m", "num_inference_steps": "2", "width": "256", "height": "256"}
VIDEO, PICTURE = Pipeline.IMAGE_TO_VIDEO, Pipeline.TEXT_TO_IMAGE
FORM = {b"content-type": b"multipart/form-data; boundary=b"}
DEAR, CHEAP = 25 * 1024 * 576 / 1e6 * 25, 2 * 256 * 256 / 1e6 * 25


def form(*names: str) -> bytes:
    """A form with fields in this order, and a file for what has no value."""
    parts = []
    for name in names:
        value = VALUES.get(name, "x" * 100_000)
        kind = "" if name in VALUES else '; filename="a.png"\r\nContent-Type: image/png'
        parts.append(f'--b\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n{value}\r\n')
    return "".join([*parts, "--b--\r\n"]).encode()


async def found(path: Path, headers: dict[bytes, bytes], sent: bytes, cut: int = 64) -> tuple[Target, int]:
    """The target of a body that comes in pieces, and how many bytes of it were there when it was known."""
    registry = Registry()
    registry.apply(ModelSeen(model(pipeline=path.pipeline)), now=0)
    body = Body(2**20, Budget(2**20))
    finding = asyncio.create_task(find_target(registry, path, headers, body))
    for start in range(0, len(sent), cut):
        body.feed(sent[start : start + cut])
        for _ in range(3):
            await asyncio.sleep(0)
        if finding.done():
            break
    size = body.size
    body.end()
    return await finding, size


@pytest.mark.parametrize(
    ("path", "named", "names"),
    [
        (Path(VIDEO), {}, ("model_id", "num_inference_steps", "width", "height", "image")),
        (Path(VIDEO), {}, ("num_inference_steps", "width", "height", "model_id", "image")),
        (Path(VIDEO), {}, ("num_inference_steps", "width", "height", "image", "model_id")),
        (Path(VIDEO, "m"), {}, ("num_inference_steps", "width", "height", "image")),
        (Path(VIDEO), {b"stoker-model": b"org/m"}, ("num_inference_steps", "width", "height", "image")),
    ],
)
async def test_a_form_costs_what_its_fields_say_however_it_names_its_model(
    path: Path, named: dict[bytes, bytes], names: Iterable[str]
) -> None:
    target, _ = await found(path, FORM | named, form(*names))

    assert target.cost == pytest.approx(CHEAP)


async def test_a_form_whose_model_is_known_is_not_waited_for_behind_the_beginning_of_its_file() -> None:
    for path, names in ((Path(VIDEO), ("model_id", "image", "width")), (Path(VIDEO, "m"), ("image", "num_inference_steps"))):
        target, size = await found(path, FORM, form(*names))

        assert target.cost == pytest.approx(DEAR)
        assert size < 1_000


@pytest.mark.parametrize(("path", "named"), [(Path(PICTURE, "m"), {}), (Path(PICTURE), {b"stoker-model": b"org/m"})])
async def test_a_short_json_is_waited_for_even_where_something_else_names_its_model(path: Path, named: dict[bytes, bytes]) -> None:
    sent = json.dumps(VALUES).encode()
    target, size = await found(path, named | {b"content-length": b"%d" % len(sent)}, sent, cut=20)

    assert target.cost == pytest.approx(CHEAP / 25)
    assert size == len(sent)


@pytest.mark.parametrize("head", [{}, {b"content-length": b"300000"}])
async def test_a_json_of_any_length_is_not_waited_for_where_something_else_names_its_model(head: dict[bytes, bytes]) -> None:
    target, size = await found(Path(PICTURE, "m"), head, b"{" + b" " * 300_000, cut=1000)

    assert target.cost == pytest.approx(50 * 1024 * 576 / 1e6)
    assert size == 1000
