"""The layers of an image in our own Docker, read from its data folder.

``docker save`` would write the whole image out, 6 GB for a worker, when only its topmost layer is wanted. Docker keeps of each
layer the unpacked files and, beside them, the rest of its tar file (tar-split); together they give the same tar again.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from e2e.cluster.engine import Engine
from e2e.cluster.node.archive import Image, Layer

_CHUNK = 1 << 20
_FILE, _SEGMENT = 1, 2
"""Kinds of tar-split's entries: a file's content, and bytes between contents."""


def engine_image(engine: Engine, reference: str) -> Image:
    """The image that `engine` knows as `reference`. Raises CommandError."""
    identity = _digits(engine.docker("image", "inspect", "--format", "{{.Id}}", reference).strip())
    config = (engine.data_root / "image" / "overlay2" / "imagedb" / "content" / "sha256" / identity).read_bytes()
    layers = []
    chain = ""
    for diff_id in json.loads(config)["rootfs"]["diff_ids"]:
        chain = _chain_id(chain, diff_id)
        layers.append(_layer(engine, _digits(diff_id), _digits(chain)))
    return Image(reference, config, tuple(layers))


def _chain_id(parent: str, diff_id: str) -> str:
    return f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}" if parent else diff_id


def _digits(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _layer(engine: Engine, digest: str, chain: str) -> Layer:
    place = engine.data_root / "image" / "overlay2" / "layerdb" / "sha256" / chain
    files = engine.data_root / "overlay2" / (place / "cache-id").read_text().strip() / "diff"
    return Layer(digest, sum(_size(entry) for entry in _entries(place)), partial(_tar, place, files))


def _entries(place: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(place / "tar-split.json.gz", "rb") as lines:
        for line in lines:
            yield json.loads(line)


def _size(entry: dict[str, Any]) -> int:
    if entry["type"] == _SEGMENT:
        return len(base64.b64decode(entry["payload"]))
    return int(entry.get("size", 0))


def _tar(place: Path, files: Path) -> Iterator[bytes]:
    for entry in _entries(place):
        if entry["type"] == _SEGMENT:
            yield base64.b64decode(entry["payload"])
        elif entry.get("size"):
            with (files / _name(entry)).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk


def _name(entry: dict[str, Any]) -> str:
    """The file's path below the layer; names that are no UTF-8 are kept as base64."""
    if "name" in entry:
        return str(entry["name"]).lstrip("/")
    return base64.b64decode(entry["name_raw"]).decode(errors="surrogateescape").lstrip("/")
