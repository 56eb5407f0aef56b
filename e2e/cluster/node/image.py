"""The node image of kind, built in our own Docker where it is not there yet."""

import os
import shutil
import tempfile
from pathlib import Path

from e2e.cache import cache_dir, content_key, locked
from e2e.cluster.binaries import KUBERNETES_VERSION, kubernetes, tools
from e2e.cluster.engine import Engine
from e2e.cluster.node.controlplane import image_names
from e2e.cluster.node.rootfs import rootfs
from e2e.commands import run
from e2e.progress import step

_HERE = Path(__file__).parent
_PROGRAMS = (
    *((tools, name) for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
    *((kubernetes, name) for name in ("kubernetes", "kubeadm")),
)


def node_image(engine: Engine) -> str:
    """The reference of the node image in `engine`. Raises GoError, CommandError."""
    made_from = (place.name for place in (rootfs(), kubernetes(), tools()))
    reference = f"stoker.dev/node:{content_key(_HERE / 'files', _HERE / 'Dockerfile', *made_from)}"
    with locked("node-image"):
        if not _is_there(engine, reference):
            base = _base(engine)
            with step("Building the node image"):
                _build(engine, reference, base)
    return reference


def _is_there(engine: Engine, reference: str) -> bool:
    return bool(engine.docker("image", "ls", "--quiet", reference).strip())


def _base(engine: Engine) -> str:
    tree = rootfs()
    reference = f"stoker.dev/node-rootfs:{tree.name.rpartition('-')[2]}"
    if not _is_there(engine, reference):
        with step("Importing Debian into Docker"), tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
            packed = Path(folder) / "rootfs.tar"
            run("tar", "--directory", tree, "--create", "--file", packed, ".")
            engine.docker("import", str(packed), reference)
    return reference


def _build(engine: Engine, reference: str, base: str) -> None:
    arguments = {"ROOTFS": base, "PAUSE": image_names()["pause"], "KUBERNETES_VERSION": KUBERNETES_VERSION}
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        context = Path(folder)
        shutil.copytree(_HERE / "files", context / "files")
        (context / "programs").mkdir()
        for place, name in _PROGRAMS:
            os.link(place() / name, context / "programs" / name)
        words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        engine.docker("build", *words, "--network", "none", "--tag", reference, "--file", str(_HERE / "Dockerfile"), folder)
