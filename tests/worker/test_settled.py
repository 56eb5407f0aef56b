"""Networks that answer from one weight say what they said before."""

from pathlib import Path
from typing import Any

import pytest

from stoker_worker.engine import tiny
from tests.worker.conftest import Engines

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


def test_no_answer_walks_through_the_modules(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = engines("sdxl", tiny.FAMILIES["sdxl"][0])._ready.pipe

    def walk(*_: Any, **__: Any) -> Any:
        message = "walked through all modules"
        raise AssertionError(message)

    monkeypatch.setattr("diffusers.hooks.group_offloading._get_top_level_group_offload_hook", walk)
    assert pipe._execution_device == pipe.unet.device == torch.device("cpu")
    assert pipe.unet.dtype == pipe.vae.dtype == torch.float32
