"""Networks that are given the tensors of parallel readers, beside those that their libraries load."""

import gc
import json
import logging
import weakref
from pathlib import Path
from typing import Any

import pytest

from stoker_contracts.worker import ExitReason
from stoker_worker.engine import tiny
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start import networks
from stoker_worker.engine.start import pipeline as loading
from stoker_worker.engine.start.importing import Libraries, import_libraries
from stoker_worker.engine.start.networks import read_networks
from stoker_worker.engine.start.reader import Reader
from stoker_worker.engine.start.weights import find_weights
from tests.worker.test_reader import readers

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

FAMILIES = list(tiny.FAMILIES)


@pytest.fixture(scope="module")
def libraries() -> Libraries:
    return import_libraries("StableDiffusionXLPipeline", lambda *_: None)


def folder_of(models: Path, family: str) -> Path:
    cached = tiny.model_id(tiny.FAMILIES[family][0], family).replace("/", "--")
    return models / f"models--{cached}" / "snapshots" / tiny.REVISION


def stock(libraries: Libraries, folder: Path, dtype: Any) -> Any:
    """What diffusers loads."""
    pipe = libraries.diffusers.DiffusionPipeline
    return pipe.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)


def ours(libraries: Libraries, folder: Path, dtype: Any) -> dict[str, Any]:
    weights = find_weights(folder, half=dtype is not libraries.torch.float32)
    return read_networks(libraries, folder, weights.components, dtype, "cpu")


def assert_same(torch: Any, mine: Any, theirs: Any) -> None:
    """All tensors, those in no file too, are equal bit for bit, and whatever is one tensor there is one here."""
    for kind in ("named_parameters", "named_buffers"):
        found, expected = (dict(getattr(network, kind)(remove_duplicate=False)) for network in (mine, theirs))
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert found[name].dtype == tensor.dtype, name
            assert found[name].requires_grad == tensor.requires_grad, name
            assert found[name].device == tensor.device, name
            assert torch.equal(found[name], tensor), name
        assert tied(found) == tied(expected)
    assert {name for name, module in mine.named_modules() if module.training} == set()
    assert not any(hasattr(module, "_hf_hook") for module in mine.modules())


def tied(tensors: dict[str, Any]) -> set[frozenset[str]]:
    """Names of tensors that are one."""
    return {frozenset(name for name in tensors if tensors[name] is tensor) for tensor in tensors.values()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_networks_are_those_that_their_libraries_load(libraries: Libraries, models: Path, family: str, precision: str) -> None:
    folder = folder_of(models, family)
    dtype = getattr(libraries.torch, precision)
    expected = stock(libraries, folder, dtype)
    names = {name for name, part in expected.components.items() if isinstance(part, libraries.torch.nn.Module)}

    found = ours(libraries, folder, dtype)

    assert found.keys() == names
    for name, network in found.items():
        assert type(network) is type(getattr(expected, name))
        assert_same(libraries.torch, network, getattr(expected, name))


@pytest.mark.parametrize("family", FAMILIES)
def test_files_of_half_precision_in_shards_and_components_of_their_own_precision(
    libraries: Libraries, models: Path, tmp_path: Path, family: str
) -> None:
    torch = libraries.torch
    stock(libraries, folder_of(models, family), torch.float16).save_pretrained(tmp_path, variant="fp16", max_shard_size="20KB")
    dtype = {"default": torch.float16, "vae": torch.float32}
    expected = libraries.diffusers.DiffusionPipeline.from_pretrained(tmp_path, variant="fp16", use_safetensors=True, dtype=dtype)

    found = ours(libraries, tmp_path, dtype)

    assert len(list(tmp_path.rglob("*-of-*"))) > 1
    assert next(found["vae"].parameters()).dtype == torch.float32
    for name, network in found.items():
        assert_same(torch, network, getattr(expected, name))


def test_what_a_network_computes_while_it_is_built_is_as_its_library_computes_it(
    libraries: Libraries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = libraries.torch
    from diffusers.configuration_utils import ConfigMixin, register_to_config  # noqa: PLC0415 - torch only where it is tested

    class Own(libraries.diffusers.ModelMixin, ConfigMixin):  # type: ignore[misc,name-defined]
        """A network with numbers that are in no file."""

        @register_to_config  # type: ignore[untyped-decorator]
        def __init__(self, size: int = 4) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(size, size)
            self.register_buffer("steps", torch.linspace(0, 1, size), persistent=False)

    Own().save_pretrained(tmp_path / "own")
    (tmp_path / "model_index.json").write_text(json.dumps({"own": ["diffusers", "Own"]}))
    monkeypatch.setattr(libraries.diffusers, "Own", Own, raising=False)

    found = ours(libraries, tmp_path, torch.float16)["own"]

    assert found.steps.dtype == torch.float16
    assert_same(torch, found, Own.from_pretrained(tmp_path / "own", torch_dtype=torch.float16))


def test_a_pipeline_of_them_makes_the_picture_that_the_libraries_pipeline_makes(libraries: Libraries, models: Path) -> None:
    torch = libraries.torch
    folder = folder_of(models, "sdxl")
    expected = stock(libraries, folder, torch.float32)
    found = type(expected).from_pretrained(folder, local_files_only=True, **ours(libraries, folder, torch.float32))

    def picture(pipe: Any) -> Any:
        pipe.set_progress_bar_config(disable=True)
        seed = torch.Generator().manual_seed(1)
        return torch.from_numpy(
            pipe("a red circle", width=64, height=64, num_inference_steps=2, generator=seed, output_type="np").images
        )

    assert torch.allclose(picture(found), picture(expected), atol=1e-4)  # tensors that begin elsewhere are summed in another order


def test_nobody_else_holds_the_tensors_so_that_they_can_be_parked(
    libraries: Libraries, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []

    class Watched(Reader):
        """Remembers its tensors without holding them."""

        def _allocate(self, parts: Any) -> Any:
            made = super()._allocate(parts)
            held.extend(weakref.ref(tensor) for part in made.values() for tensor in part.values())
            return made

    monkeypatch.setattr(networks, "Reader", Watched)
    gc.collect()
    gc.disable()
    try:
        found = ours(libraries, folder_of(models, "flux"), libraries.torch.float32)
        alive = [tensor for reference in held if (tensor := reference()) is not None]
    finally:
        gc.enable()

    buffers = {id(buffer) for network in found.values() for buffer in network.buffers()}
    assert held
    assert {id(tensor) for tensor in alive} <= buffers


def copied(models: Path, family: str, folder: Path) -> Path:
    """A model of its own, to be damaged."""
    source = folder_of(models, family)
    for file in source.rglob("*"):
        if file.is_file():
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return folder


def without(file: Path, name: str) -> None:
    """Take one tensor out of a file."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - torch only where it is tested

    save_file({key: tensor for key, tensor in load_file(file).items() if key != name}, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("file", "name", "words"),
    [
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight", "vae are incomplete: 1 tensors are missing"),
        ("text_encoder/model.safetensors", "final_layer_norm.weight", "text_encoder are incomplete: 1 tensors are missing"),
    ],
)
def test_a_missing_tensor_is_told_in_words(
    libraries: Libraries, models: Path, tmp_path: Path, file: str, name: str, words: str
) -> None:
    folder = copied(models, "sdxl", tmp_path)
    from safetensors import safe_open  # noqa: PLC0415 - torch only where it is tested

    with safe_open(folder / file, "pt") as opened:
        full = next(key for key in opened.keys() if key.endswith(name))  # noqa: SIM118 - it is no mapping
    without(folder / file, full)

    with pytest.raises(FatalEngineError, match=words) as raised:
        ours(libraries, folder, libraries.torch.float32)

    assert raised.value.reason is ExitReason.WEIGHTS_MISSING
    assert not readers()


def test_a_file_that_is_cut_off_is_told_in_words(libraries: Libraries, models: Path, tmp_path: Path) -> None:
    folder = copied(models, "sdxl", tmp_path)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(FatalEngineError, match="is cut off; fetch it again"):
        ours(libraries, folder, libraries.torch.float32)

    assert not readers()


def test_the_end_of_a_load_has_the_reason_that_was_found(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def incomplete(*_: object) -> None:
        raise FatalEngineError(ExitReason.WEIGHTS_MISSING, "the weights of vae are incomplete")

    monkeypatch.setattr(loading, "_read", incomplete)
    model = loading.Model(tiny.FAMILIES["sdxl"][0], tiny.model_id(tiny.FAMILIES["sdxl"][0], "sdxl"), models, "cpu")

    with pytest.raises(FatalEngineError, match="vae are incomplete") as raised:
        loading.load_pipeline(model, lambda *_: None)

    assert raised.value.reason is ExitReason.WEIGHTS_MISSING


def test_networks_that_are_not_plain_are_left_to_their_libraries(
    libraries: Libraries, models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(models, "sdxl", tmp_path)
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"quantization_config": {"quant_method": "some"}}))

    with caplog.at_level(logging.INFO):
        found = ours(libraries, folder, libraries.torch.float32)

    assert found.keys() == {"unet", "vae", "text_encoder_2"}
    assert "text_encoder is read by transformers itself" in caplog.messages[0]


def test_a_network_that_cannot_be_built_here_is_left_to_its_library_with_a_word(
    libraries: Libraries, models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(models, "sdxl", tmp_path)
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"latent_channels": 8}))

    with caplog.at_level(logging.INFO):
        found = ours(libraries, folder, libraries.torch.float32)

    assert found.keys() == {"unet", "text_encoder", "text_encoder_2"}
    assert "vae is read by diffusers itself: RuntimeError" in caplog.messages
    assert not any(str(tmp_path) in message for message in caplog.messages)


def test_how_long_it_took_is_told_in_one_line(libraries: Libraries, models: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ours(libraries, folder_of(models, "sd15"), libraries.torch.float32)

    (line,) = caplog.messages
    assert line.startswith("weights: 0.01 GB in ")
    assert line.endswith(" readers)")


def test_only_what_the_pipeline_takes_is_read(libraries: Libraries, models: Path) -> None:
    weights = find_weights(folder_of(models, "sdxl"), half=False)

    def taken(kind: str) -> set[str]:
        return {component.name for component in loading._taken(getattr(libraries.diffusers, kind), libraries, weights)}

    assert {"unet", "vae", "text_encoder", "text_encoder_2"} <= taken("StableDiffusionXLPipeline")
    assert "text_encoder_2" not in taken("StableDiffusionPipeline")
    assert "text_encoder_2" in taken("AutoPipelineForText2Image")
