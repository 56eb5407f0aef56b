"""Tensors that several threads read from safetensors files."""

import json
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stoker_contracts.worker import ExitReason
from stoker_worker.engine.protocol import FatalEngineError
from stoker_worker.engine.start import reader as reading
from stoker_worker.engine.start.reader import Reader
from stoker_worker.engine.start.stored import Stored, cut, stored_tensors
from tests.worker.played_card import PlayedReader, PlayedTorch

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

SMALL = 64
"""Bytes of a chunk, so that tensors of a few hundred numbers are cut."""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def odd_ones(torch: Any) -> dict[str, Any]:
    """Tensors of many formats and sizes, none of which is a multiple of a chunk."""
    made = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(13, 17, generator=made),
        "half": torch.randn(7, 3, 5, generator=made).half(),
        "rounded": torch.randn(31, generator=made).bfloat16(),
        "number": torch.tensor(7),
        "nothing": torch.empty(0, 4),
        "flags": torch.randn(9, generator=made) > 0,
        "bytes": torch.arange(251, dtype=torch.uint8),
    }


def saved(folder: Path, parts: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    from safetensors.torch import save_file  # noqa: PLC0415 - torch only where it is tested

    files = [folder / f"{name}.safetensors" for name in parts]
    for file, tensors in zip(files, parts.values(), strict=True):
        save_file(dict(tensors), file)
    return files


def as_it_is(_name: str, source: Any) -> Any:
    return source


def stored(torch: Any, *files: Path, wanted: Any = as_it_is) -> dict[str, Stored]:
    found = stored_tensors(files, torch, wanted)
    assert found is not None
    return found


def read(torch: Any, parts: Mapping[str, Mapping[str, Stored]], size: int = SMALL) -> dict[str, dict[str, Any]]:
    with Reader(torch, "cpu", parts, size) as reader:
        reader.wait(*parts)
    return reader.tensors


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "weights"]


@pytest.mark.parametrize("size", [8, SMALL, 2**20])
def test_every_tensor_has_its_numbers_however_chunks_cut_it(torch: Any, tmp_path: Path, size: int) -> None:
    tensors = odd_ones(torch)
    files = saved(tmp_path, {"one": tensors, "two": {"other": tensors["matrix"] + 1}})

    found = read(torch, {"part": stored(torch, *files)}, size)["part"]

    assert found.keys() == {*tensors, "other"}
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert torch.equal(found["other"], tensors["matrix"] + 1)


def test_numbers_become_what_is_wanted_as_torch_would_make_them(torch: Any, tmp_path: Path) -> None:
    tensors = odd_ones(torch)
    (file,) = saved(tmp_path, {"one": tensors})
    wanted = {"matrix": torch.float16, "half": torch.float32, "rounded": torch.float16}

    found = read(torch, {"part": stored(torch, file, wanted=wanted.get)})["part"]

    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor.to(wanted.get(name, tensor.dtype)))


def test_no_number_is_cut_and_no_chunk_larger_than_said(torch: Any, tmp_path: Path) -> None:
    (file,) = saved(tmp_path, {"one": odd_ones(torch)})
    part = stored(torch, file)
    chunks = cut("part", part, SMALL)

    assert max(chunk.size for chunk in chunks) <= SMALL
    assert all((piece.begin - piece.stored.begin) % piece.stored.source.itemsize == 0 for chunk in chunks for piece in chunk.pieces)
    assert sum(piece.end - piece.begin for chunk in chunks for piece in chunk.pieces) == sum(
        one.end - one.begin for one in part.values()
    )


def test_components_are_read_in_their_order(torch: Any, tmp_path: Path) -> None:
    files = saved(tmp_path, {name: odd_ones(torch) for name in ("late", "early")})
    reader = Reader(torch, "cpu", {"early": stored(torch, files[1]), "late": stored(torch, files[0])}, SMALL)
    order = [chunk.name for chunk in reader._chunks]

    assert order == sorted(order)
    assert set(order) == {"early", "late"}
    assert reader.size == sum(one.end - one.begin for file in files for one in stored(torch, file).values())


def test_a_file_that_ends_too_early_is_told_to_who_waits_and_no_thread_is_left(torch: Any, tmp_path: Path) -> None:
    (file,) = saved(tmp_path, {"one": odd_ones(torch)})
    parts = {"part": stored(torch, file)}
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(FatalEngineError, match=r"one\.safetensors is cut off; fetch it again") as raised:
        read(torch, parts)

    assert raised.value.reason is ExitReason.WEIGHTS_MISSING
    assert not readers()


def test_whatever_a_reader_fails_with_reaches_who_waits(torch: Any, tmp_path: Path) -> None:
    class Full(Reader):
        """Has no memory for a second buffer."""

        def _memory(self) -> Any:
            message = "no memory"
            raise torch.OutOfMemoryError(message)

    (file,) = saved(tmp_path, {"one": odd_ones(torch)})

    with pytest.raises(torch.OutOfMemoryError, match="no memory"), Full(torch, "cpu", {"part": stored(torch, file)}) as reader:
        reader.wait("part")

    assert not readers()


@pytest.mark.parametrize("pins", [True, False])
def test_a_card_has_all_numbers_before_anyone_is_told_so(torch: Any, tmp_path: Path, pins: bool) -> None:  # noqa: FBT001 - a case
    tensors = odd_ones(torch)
    files = saved(tmp_path, {"one": tensors, "two": tensors})
    played = PlayedTorch(torch, pins=pins)
    parts = {file.stem: stored(torch, file, wanted={"half": torch.float32}.get) for file in files}

    with PlayedReader(played, "cuda", parts, SMALL) as reader:
        reader.wait("one", "two")
        for part in reader.tensors.values():
            for name, tensor in tensors.items():
                assert torch.equal(part[name], tensor.to(part[name].dtype))

    assert bool(played.pinned) is pins


@pytest.mark.parametrize(("size", "buffers"), [(2**20, 1), (SMALL, 2)])
def test_a_reader_pins_no_more_memory_than_it_has_use_for(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, buffers: int
) -> None:
    monkeypatch.setattr(reading, "READERS", 1)
    (file,) = saved(tmp_path, {"one": odd_ones(torch)})
    played = PlayedTorch(torch)

    with PlayedReader(played, "cuda", {"part": stored(torch, file)}, size) as reader:
        reader.wait("part")

    assert played.pinned == buffers


def test_nothing_is_written_to_a_card_once_the_context_is_over(torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READERS", 1)
    (file,) = saved(tmp_path, {"one": odd_ones(torch)})
    parts = {"part": stored(torch, file)}
    file.write_bytes(file.read_bytes()[:-100])
    played = PlayedTorch(torch)

    with pytest.raises(FatalEngineError), PlayedReader(played, "cuda", parts, SMALL) as reader:
        reader.wait("part")

    (stream,) = played.cuda.streams
    assert stream.made == len(stream.asked) > 0


def test_a_context_that_is_left_early_reads_no_further(torch: Any, tmp_path: Path) -> None:
    (file,) = saved(tmp_path, {"one": odd_ones(torch)})
    reader = Reader(torch, "cpu", {"part": stored(torch, file)}, SMALL)
    reader.threads.clear()

    assert reader._chunks

    with pytest.raises(KeyError), reader:
        raise KeyError

    assert not reader._chunks


def test_a_reader_that_fails_stops_the_others(torch: Any, tmp_path: Path) -> None:
    (file,) = saved(tmp_path, {"one": odd_ones(torch)})
    reader = Reader(torch, "cpu", {"part": stored(torch, file)}, SMALL)
    reader.threads.clear()
    file.write_bytes(b"")

    with reader:
        reader._run()
        assert not reader._chunks


def test_a_header_that_does_not_fit_its_shapes_is_refused(torch: Any, tmp_path: Path) -> None:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    file = tmp_path / "wrong.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))

    with pytest.raises(FatalEngineError, match=r"wrong\.safetensors is no safetensors file"):
        stored_tensors([file], torch, as_it_is)


def test_packed_numbers_are_left_to_others(torch: Any, tmp_path: Path) -> None:
    (file,) = saved(tmp_path, {"one": {"weight": torch.zeros(4).to(torch.float8_e4m3fn)}})

    assert stored_tensors([file], torch, as_it_is) is None
