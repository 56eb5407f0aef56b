"""Container images as archives that containerd imports, written as a stream.

An archive may leave out layers that its reader has already: containerd takes them from its own store.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = 512
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer."""

    digest: str
    """The SHA-256 of its tar file, in hexadecimal digits."""
    size: int
    """Bytes of its tar file."""
    chunks: Callable[[], Iterable[bytes]]
    """Reads the tar file."""


@dataclass(frozen=True)
class Image:
    """An image with a full name, as ``registry/repository:tag``."""

    name: str
    config: bytes
    """The image's configuration as JSON; its diff ids are the layers' digests."""
    layers: tuple[Layer, ...]


def archive(images: Sequence[Image], without: Collection[str] = ()) -> Iterator[bytes]:
    """An OCI layout of `images` as a tar stream; the layers whose digests are in `without` are left out of it."""
    yield from _entry("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    written = set(without)
    manifests = []
    for image in images:
        for layer in image.layers:
            if layer.digest not in written:
                written.add(layer.digest)
                yield from _stream(f"blobs/sha256/{layer.digest}", layer.size, layer.chunks())
        manifest = _manifest(image)
        for blob in (image.config, manifest):
            if (digest := hashlib.sha256(blob).hexdigest()) not in written:
                written.add(digest)
                yield from _entry(f"blobs/sha256/{digest}", blob)
        named = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name.rpartition(":")[2]}
        manifests.append(_descriptor(_MANIFEST, manifest) | {"annotations": named})
    yield from _entry("index.json", _json({"schemaVersion": 2, "manifests": manifests}))
    yield bytes(2 * _BLOCK)


def files_layer(files: Mapping[str, Path], links: Mapping[str, str] | None = None) -> Layer:
    """A layer of `files` (path in the image to the file that it is a copy of) and symbolic `links`, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
            tar.addfile(_described(folder, tarfile.DIRTYPE))
        for name, source in sorted(files.items()):
            content = source.read_bytes()
            info = _described(name, tarfile.REGTYPE)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in sorted((links or {}).items()):
            info = _described(name, tarfile.SYMTYPE)
            info.linkname = target
            tar.addfile(info)
    content = buffer.getvalue()
    return Layer(hashlib.sha256(content).hexdigest(), len(content), lambda: [content])


def image_config(layers: Sequence[Layer], **process: Any) -> bytes:
    """The configuration of an image of `layers`; `process` has entries of OCI's ``config``, as Env and Entrypoint."""
    diff_ids = [f"sha256:{layer.digest}" for layer in layers]
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    return _json(
        {"architecture": architecture, "os": "linux", "config": process, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    )


def _described(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o755
    return info


def _manifest(image: Image) -> bytes:
    layers = [{"mediaType": _LAYER, "digest": f"sha256:{layer.digest}", "size": layer.size} for layer in image.layers]
    return _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": _descriptor(_CONFIG, image.config), "layers": layers})


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _entry(name: str, content: bytes) -> Iterator[bytes]:
    return _stream(name, len(content), [content])


def _stream(name: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from chunks
    yield bytes(-size % _BLOCK)
