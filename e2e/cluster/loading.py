"""Putting an image of our own Docker into a node, a 6 GB one in seconds.

Docker's overlay2 and containerd's overlayfs keep an unpacked layer in the same form, a folder that never changes, and ours lie
on the same disk. So a layer is given to the node as hard links: nothing is packed, sent, unpacked or stored twice. The node
gets the manifest and the configuration as an archive, and finds every layer unpacked already.
"""

import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

from e2e.cluster.engine import Engine
from e2e.cluster.node.archive import Image, Layer
from e2e.cluster.node.store import take_in
from e2e.commands import CommandError, run

_SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
_GARBAGE_ROOT = "containerd.io/gc.root"
_LINK = """
while mountpoint --quiet "$0"; do umount --lazy "$0"; done
cp --archive --link "$1" "$2"
"""
"""Docker mounts its data folder onto itself, and no hard link leads out of a mount, even to the same disk. This shell
takes the mount away for itself alone."""


def load(engine: Engine, reference: str, ctr: list[str], store: Path) -> None:
    """Give the image `reference` of `engine` to the containerd that `ctr` speaks to and whose folder is `store`.

    Raises CommandError.
    """
    identity = engine.docker("image", "inspect", "--format", "{{.Id}}", reference).strip().removeprefix("sha256:")
    database = engine.data_root / "image" / "overlay2"
    config = (database / "imagedb" / "content" / "sha256" / identity).read_bytes()
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    chain_ids = _chain_ids(diff_ids)
    layers = [database / "layerdb" / "sha256" / chain_id.removeprefix("sha256:") for chain_id in chain_ids]
    new = _missing(ctr, chain_ids)
    for (parent, chain_id), layer in zip(pairwise(["", *chain_ids]), layers, strict=True):
        if chain_id in new:
            files = engine.data_root / "overlay2" / (layer / "cache-id").read_text() / "diff"
            snapshot = _prepare(ctr, store, chain_id, parent)
            run("unshare", "--mount", "sh", "-c", _LINK, engine.data_root, f"{files}/.", snapshot)
            run(*ctr, "snapshots", "commit", chain_id, _unfinished(chain_id))
    image = Image(reference, config, tuple(map(_described, diff_ids, layers)))
    take_in(ctr, [image], without={layer.digest for layer in image.layers})
    for chain_id in new:  # from here on the image holds them
        run(*ctr, "snapshots", "label", chain_id, f"{_GARBAGE_ROOT}=")


def _chain_ids(diff_ids: list[str]) -> list[str]:
    """The names of the stacks that begin with the first layer and end with each one, as OCI's image specification has them."""
    chain_ids = diff_ids[:1]
    for diff_id in diff_ids[1:]:
        chain_ids.append(f"sha256:{hashlib.sha256(f'{chain_ids[-1]} {diff_id}'.encode()).hexdigest()}")
    return chain_ids


def _missing(ctr: list[str], chain_ids: list[str]) -> set[str]:
    listed = {line.split()[0] for line in run(*ctr, "snapshots", "ls").splitlines() if line}
    return set(chain_ids) - listed


def _prepare(ctr: list[str], store: Path, chain_id: str, parent: str) -> Path:
    """Begin the snapshot of a layer; returns its folder, an empty one."""
    try:
        run(*ctr, "snapshots", "rm", _unfinished(chain_id))  # of a run that was killed
    except CommandError as error:
        if "not found" not in str(error):
            raise
    mounts = run(*ctr, "snapshots", "prepare", "--target", "/", _unfinished(chain_id), *([parent] if parent else []))
    number = re.search(r"/snapshots/(\d+)/fs", mounts)
    if number is None:
        message = f"containerd did not say where the new layer lies: {mounts.strip()}"
        raise CommandError(message)
    return store / _SNAPSHOTS / number[1] / "fs"


def _unfinished(chain_id: str) -> str:
    return f"stoker-loading-{chain_id}"


def _described(diff_id: str, layer: Path) -> Layer:
    """The layer as the manifest lists it; its size is that of its files, as it never becomes a tar file."""
    return Layer(diff_id.removeprefix("sha256:"), int((layer / "size").read_text()), list)
