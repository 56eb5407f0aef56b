"""Networks that answer from one weight say what they said before."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stoker_contracts.pipelines import Pipeline
from stoker_worker.engine import tiny
from tests.worker.conftest import Engines
from tests.worker.test_family_pipelines import EVERY, row, run

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(params=list(tiny.FAMILIES))
def pipe(request: pytest.FixtureRequest, models: Path) -> Any:
    """A family's pipeline in float16, as diffusers loads it."""
    import diffusers  # noqa: PLC0415 - torch's libraries only where they are tested

    model_id = tiny.model_id(tiny.FAMILIES[request.param][0], request.param)
    (folder,) = (models / f"models--{model_id.replace('/', '--')}").glob("snapshots/*")
    return diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16, local_files_only=True)


def told(pipe: Any) -> list[Any]:
    """Everything that a call asks for."""
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return [pipe._execution_device, pipe.device, *((type(each).__name__, each.device, each.dtype) for each in networks)]


def test_a_familys_networks_say_what_they_said_before_wherever_they_are_moved(pipe: Any) -> None:
    from stoker_worker.engine.speed.settled import settle  # noqa: PLC0415 - as above

    before, walked = told(pipe), list(pipe.components)
    settle(torch, pipe)

    assert told(pipe) == before
    assert list(pipe.components) == walked
    for name in ("vae", "unet", "transformer"):
        network = getattr(pipe, name, None)
        if network is not None:
            network.to(dtype=torch.float32)
            assert network.dtype == torch.float32
            network.to("meta")
            assert network.device == torch.device("meta")


@pytest.mark.parametrize(("family", "pipeline"), EVERY)
def test_no_call_walks_through_the_modules(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, family: str, pipeline: Pipeline
) -> None:
    engine = engines(family, pipeline)

    def walk(*_: Any, **__: Any) -> Any:
        message = "walked through all modules"
        raise AssertionError(message)

    monkeypatch.setattr("diffusers.hooks.group_offloading._get_top_level_group_offload_hook", walk)
    monkeypatch.setattr("diffusers.models.modeling_utils.get_parameter_dtype", walk)
    monkeypatch.setattr(
        "diffusers.hooks.group_offloading._is_group_offload_enabled", lambda _: False
    )  # conversions are not its matter
    assert len(run(engine, [row(pipeline, 1)])) == 1


def test_a_network_of_somebody_else_is_asked_for_its_hooks_as_ever(engines: Engines) -> None:
    from diffusers.utils.torch_utils import get_module_execution_device  # noqa: PLC0415 - as above

    engines("sdxl", Pipeline.TEXT_TO_IMAGE)
    offloaded = torch.nn.Linear(1, 1)
    offloaded._diffusers_hook = Offloading("meta")

    assert get_module_execution_device(offloaded) == torch.device("meta")
    assert get_module_execution_device(torch.nn.Linear(1, 1)) == torch.device("cpu")


def test_diffusers_is_left_as_it_was_once_no_engine_needs_it_otherwise() -> None:
    from diffusers.hooks import group_offloading  # noqa: PLC0415 - as above

    from stoker_worker.engine.speed.settled import _Ear  # noqa: PLC0415 - as above

    ear, before = _Ear(), group_offloading._get_group_onload_device
    one, other = ear.lent(), ear.lent()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    meanwhile = group_offloading._get_group_onload_device
    other.__exit__(None, None, None)

    assert meanwhile == ear._device_of
    assert group_offloading._get_group_onload_device is before


class Offloading:
    """The hooks of a network that is moved to `device` for each call, as diffusers keeps them."""

    def __init__(self, device: str) -> None:
        self.config = SimpleNamespace(onload_device=torch.device(device))

    def get_hook(self, name: str) -> "Offloading | None":
        return self if name == "group_offloading" else None
