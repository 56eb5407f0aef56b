"""What weights need, from the headers of their files, and what is done with that."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker_contracts.worker import ExitReason
from stoker_worker.domain.memory import GIB, Entry, Precision, overdraft, weights_bytes
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start.folders import family_in, find_model
from stoker_worker.engine.start.host import free_bytes
from stoker_worker.engine.start.importing import import_libraries
from stoker_worker.engine.start.memory import precision
from stoker_worker.engine.start.pipeline import Model, load_pipeline
from stoker_worker.engine.start.weights import HALF, Component, Weights, find_weights, needed_bytes, read_header

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

HEADER = {
    "blocks.0.norm.weight": Entry("F32", (10,), 0, 40),
    "blocks.0.linear.weight": Entry("F32", (10, 10), 40, 440),
    "position_ids": Entry("I64", (1, 7), 440, 496),
}


def safetensors(file: Path, numbers: int = 1, cut: int = 0) -> None:
    """A file with one tensor of so many zeros in full precision, `cut` bytes short."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * numbers - cut))


def model(folder: Path, **components: list[str]) -> Path:
    """A model folder whose index names these components."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "SomePipeline", "safety_checker": [None, None], **components})
    )
    return folder


UNET = {"unet": ["diffusers", "UNet2DConditionModel"]}


def names(weights: Weights) -> list[str]:
    return [file.name for file in weights.files]


@pytest.mark.parametrize(
    ("precision", "size"),
    [(Precision(4), 496), (Precision(2), 20 + 200 + 56), (Precision(2, frozenset({"norm"})), 40 + 200 + 56), (Precision(1), 166)],
)
def test_numbers_count_as_what_they_are_loaded_as(precision: Precision, size: int) -> None:
    assert weights_bytes([HEADER], precision) == size


def test_a_module_is_kept_in_full_precision_by_its_whole_name() -> None:
    assert weights_bytes([HEADER], Precision(2, frozenset({"nor"}))) == weights_bytes([HEADER], Precision(2))


def test_weights_past_the_budget_are_told_largest_part_first() -> None:
    needed = {"vae": GIB, "unet": 5 * GIB, "scheduler": 0}

    assert overdraft(needed, 6 * GIB) is None
    assert overdraft(needed, 4 * GIB) == "the weights need 6 GiB and the budget is 4 GiB: unet 5 GiB, vae 1 GiB"


def test_half_precision_files_are_taken_where_each_part_that_has_some_has_them_all(tmp_path: Path) -> None:
    folder = model(tmp_path, **UNET, vae=["diffusers", "AutoencoderKL"])
    for name in ("unet/diffusion_pytorch_model", "unet/diffusion_pytorch_model.fp16", "vae/diffusion_pytorch_model"):
        safetensors(folder / f"{name}.safetensors")
    safetensors(folder / "whole_model.safetensors", 1000)

    halved, full = find_weights(folder, half=True), find_weights(folder, half=False)

    assert halved.variant == HALF
    assert sorted(names(halved)) == ["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"]
    assert full.variant is None
    assert names(full) == ["diffusion_pytorch_model.safetensors"] * 2


def test_half_precision_files_are_taken_where_there_are_no_others(tmp_path: Path) -> None:
    folder = model(tmp_path, **UNET)
    safetensors(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")

    assert find_weights(folder, half=False).variant == HALF


def test_incomplete_half_precision_files_are_left_alone(tmp_path: Path) -> None:
    folder = model(tmp_path, text_encoder=["transformers", "CLIPTextModel"])
    safetensors(folder / "text_encoder" / "model.safetensors")
    safetensors(folder / "text_encoder" / "model.fp16-00001-of-00002.safetensors")
    shards = {"weight_map": {"a": "model.fp16-00001-of-00002.safetensors", "b": "model.fp16-00002-of-00002.safetensors"}}
    (folder / "text_encoder" / "model.safetensors.index.fp16.json").write_text(json.dumps(shards))

    weights = find_weights(folder, half=True)

    assert (weights.variant, names(weights)) == (None, ["model.safetensors"])


def test_all_shards_of_an_index_count_and_none_outside_of_its_folder(tmp_path: Path) -> None:
    folder = model(tmp_path, transformer=["diffusers", "FluxTransformer2DModel"])
    for number, size in ((1, 5), (2, 9)):
        safetensors(folder / "transformer" / f"part{number}.safetensors", size)
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "part1.safetensors", "b": "../../transformer/part2.safetensors"}}))

    weights = find_weights(folder, half=True)

    assert names(weights) == ["part2.safetensors", "part1.safetensors"]
    assert {file.parent for file in weights.files} == {folder / "transformer"}
    assert needed_bytes(weights, lambda _: Precision(2)) == {"transformer": 28}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["unet/diffusion_pytorch_model.bin"], "unet are pickled, which can run code; they are needed as safetensors"),
        (["unet/diffusion_pytorch_model.safetensors.index.json"], "unet are incomplete"),
    ],
)
def test_weights_that_cannot_be_read_safely_are_refused_in_words(tmp_path: Path, files: list[str], words: str) -> None:
    folder = model(tmp_path, **UNET)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text('{"weight_map": {"a": "b.safetensors"}}')

    with pytest.raises(FatalEngineError, match=words) as refused:
        find_weights(folder, half=False)

    assert refused.value.reason is ExitReason.WEIGHTS_MISSING


@pytest.mark.parametrize(
    ("changes", "whose"),
    [({"unet": ["my_unet", "MyUNet"]}, "unet"), ({"_class_name": ["my_pipeline", "MyPipeline"]}, "its pipeline")],
)
def test_code_that_comes_with_a_model_is_refused(tmp_path: Path, changes: dict[str, Any], whose: str) -> None:
    folder = model(tmp_path, **changes)
    (folder / "unet").mkdir()
    for name in ("unet/my_unet.py", "my_pipeline.py"):
        (folder / name).write_text("raise SystemExit('this was run')")

    with pytest.raises(FatalEngineError, match=f"code of its own for {whose}, and code that comes with weights is not run"):
        find_weights(folder, half=False)


@pytest.mark.parametrize("text", ["[]", "no json", ""])
def test_an_index_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_index.json").write_text(text)

    with pytest.raises(FatalEngineError, match="no JSON object"):
        find_weights(tmp_path, half=False)


@pytest.mark.parametrize("content", [b"", b"12345678", struct.pack("<Q", 4) + b"null", struct.pack("<Q", 2**63) + b"{}x"])
def test_a_file_that_is_no_safetensors_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "unet" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(content)

    with pytest.raises(FatalEngineError, match=r"^unet: model.safetensors is no safetensors file$"):
        read_header(file)


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"data_offsets": [0, 4]},
        ENTRY | {"dtype": 32},
        ENTRY | {"shape": "a"},
        ENTRY | {"shape": [-1]},
        ENTRY | {"data_offsets": [4]},
        ENTRY | {"data_offsets": [0, "4"]},
        ENTRY | {"data_offsets": [-4, 4]},
        ENTRY | {"data_offsets": [4, 0]},
    ],
    ids=str,
)
def test_a_header_with_a_tensor_that_is_none_is_told_by_its_files_name(tmp_path: Path, said: object) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": said}).encode()
    file = tmp_path / "unet" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))

    with pytest.raises(FatalEngineError, match=r"^unet: model.safetensors is no safetensors file$"):
        needed_bytes(Weights((Component("unet", "diffusers", "UNet2DConditionModel", (file,)),)), lambda _: Precision(2))


def test_a_file_that_was_cut_off_is_told(tmp_path: Path) -> None:
    safetensors(tmp_path / "unet" / "model.safetensors", 100, cut=1)

    with pytest.raises(FatalEngineError, match="cut off"):
        read_header(tmp_path / "unet" / "model.safetensors")


@pytest.mark.parametrize(
    ("group", "free"),
    [
        ({}, 1000 * 1024),
        ({"memory.max": "max", "memory.current": "5"}, 1000 * 1024),
        ({"memory.max": "600000", "memory.current": "500000", "memory.stat": "anon 7\ninactive_file 100000\n"}, 200000),
        ({"memory.max": "100", "memory.current": "500"}, 0),
    ],
)
def test_free_memory_is_what_the_container_leaves(tmp_path: Path, group: dict[str, str], free: int) -> None:
    for name, text in group.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable:    1000 kB\n")

    assert free_bytes(tmp_path, tmp_path / "meminfo") == free


def tiny_model(folder: Path, family: str = "sdxl", **changes: Any) -> Model:
    from stoker_worker.engine import tiny  # noqa: PLC0415 - torch only where it is tested

    pipeline = tiny.FAMILIES[family][0]
    return Model(pipeline, tiny.model_id(pipeline, family), folder, "cpu", **changes)


@pytest.mark.torch
@pytest.mark.parametrize("switches", [frozenset[str](), frozenset({"bfloat16"})])
@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux", "svd", "ltx", "wan"])
def test_the_estimate_is_within_a_hundredth_of_what_is_held(models: Path, family: str, switches: frozenset[str]) -> None:
    asked = tiny_model(models, family, switches=switches)
    loaded = load_pipeline(asked, lambda *_: None)
    libraries = import_libraries("DiffusionPipeline", lambda *_: None)
    weights = find_weights(find_model(models, asked.model_id), half=False)
    chosen = loaded.torch.bfloat16 if switches else loaded.torch.float32
    kept = family_in(models, asked.model_id, asked.pipeline).float32
    dtype = {"default": chosen} | dict.fromkeys(kept, loaded.torch.float32)
    needed = needed_bytes(weights, lambda component: precision(component, libraries, dtype))

    assert sum(needed.values()) == pytest.approx(loaded.footprint.weights, rel=0.01)


@pytest.mark.torch
def test_a_model_in_shards_is_the_same_model(models: Path, tmp_path: Path) -> None:
    whole = load_pipeline(tiny_model(models), lambda *_: None)
    whole.pipe.save_pretrained(tmp_path, max_shard_size="2MB")

    sharded = load_pipeline(replace(tiny_model(models), directory=tmp_path), lambda *_: None)
    pairs = zip(whole.pipe.unet.parameters(), sharded.pipe.unet.parameters(), strict=True)

    assert len(list((tmp_path / "unet").glob("*.safetensors"))) > 1
    assert all(whole.torch.equal(one, other) for one, other in pairs)


@pytest.mark.torch
def test_a_model_past_its_budget_is_refused_before_its_weights_are_read(models: Path) -> None:
    stages: list[str] = []

    with pytest.raises(FatalEngineError, match=r"^the weights need .* MiB and the budget is 1 MiB: unet ") as refused:
        load_pipeline(tiny_model(models, memory_budget=2**20), lambda stage, _: stages.append(stage))

    assert refused.value.reason is ExitReason.OUT_OF_MEMORY
    assert "weights" not in stages


@pytest.mark.torch
def test_a_card_that_is_not_there_is_told(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: PLC0415 - torch only where it is tested

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(FatalEngineError, match="no card is to be seen"):
        load_pipeline(replace(tiny_model(models), device="cuda"), lambda *_: None)


@pytest.mark.torch
def test_modules_that_a_library_keeps_in_full_precision_count_as_such() -> None:
    libraries = import_libraries("DiffusionPipeline", lambda *_: None)
    torch = libraries.torch
    wan, t5 = Component("transformer", "diffusers", "WanTransformer3DModel"), Component("text", "transformers", "T5EncoderModel")

    assert "norm2" in precision(wan, libraries, torch.bfloat16).kept
    assert precision(t5, libraries, torch.float16) == Precision(2, frozenset({"wo"}))
    assert precision(t5, libraries, torch.bfloat16) == Precision(2)
    assert precision(t5, libraries, {"text": torch.float32, "default": torch.float16}) == Precision(4)
