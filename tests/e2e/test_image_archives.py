import hashlib
import io
import json
import tarfile
from pathlib import Path

from e2e.cluster.loading import _chain_ids
from e2e.cluster.node.archive import Image, archive, files_layer, image_config


def _image(folder: Path, name: str = "stoker.dev/thing:1") -> Image:
    program = folder / "program"
    program.write_bytes(b"#!/bin/true\n")
    layer = files_layer({"usr/bin/program": program}, links={"usr/bin/alias": "program"})
    return Image(name, image_config([layer], Entrypoint=["/usr/bin/program"]), (layer,))


def _read(chunks: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(chunks)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def test_every_blob_of_an_archive_has_the_name_of_its_content(tmp_path: Path) -> None:
    files = _read(b"".join(archive([_image(tmp_path)])))
    blobs = {name: content for name, content in files.items() if name.startswith("blobs/sha256/")}
    assert len(blobs) == 3  # layer, configuration, manifest
    assert all(hashlib.sha256(content).hexdigest() == name.rpartition("/")[2] for name, content in blobs.items())


def test_the_index_leads_by_the_manifest_to_configuration_and_layers(tmp_path: Path) -> None:
    image = _image(tmp_path)
    files = _read(b"".join(archive([image])))

    def blob(descriptor: dict[str, str | int]) -> bytes:
        content = files[f"blobs/sha256/{str(descriptor['digest']).removeprefix('sha256:')}"]
        assert len(content) == descriptor["size"]
        return content

    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == image.name
    manifest = json.loads(blob(entry))
    assert json.loads(blob(manifest["config"]))["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    with tarfile.open(fileobj=io.BytesIO(blob(manifest["layers"][0]))) as layer:
        assert layer.getnames() == ["usr", "usr/bin", "usr/bin/program", "usr/bin/alias"]
        assert layer.getmember("usr/bin/program").mode == 0o755


def test_a_layer_that_images_share_is_written_once(tmp_path: Path) -> None:
    images = [_image(tmp_path, "stoker.dev/thing:1"), _image(tmp_path, "stoker.dev/thing:2")]
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive(images)))) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))


def test_layers_that_the_reader_has_are_left_out_but_stay_in_the_manifest(tmp_path: Path) -> None:
    image = _image(tmp_path)
    digest = image.layers[0].digest
    files = _read(b"".join(archive([image], without={digest})))
    assert f"blobs/sha256/{digest}" not in files
    assert any(f"sha256:{digest}".encode() in content for content in files.values())


def test_the_same_files_make_the_same_layer(tmp_path: Path) -> None:
    assert _image(tmp_path).layers[0].digest == _image(tmp_path).layers[0].digest


def test_a_stack_of_layers_is_named_after_all_of_them() -> None:
    first, second, third = (f"sha256:{hashlib.sha256(name).hexdigest()}" for name in (b"1", b"2", b"3"))
    two = f"sha256:{hashlib.sha256(f'{first} {second}'.encode()).hexdigest()}"
    three = f"sha256:{hashlib.sha256(f'{two} {third}'.encode()).hexdigest()}"
    assert _chain_ids([first, second, third]) == [first, two, three]
