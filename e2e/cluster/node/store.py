"""The nodes' image store: containerd's folder with images already unpacked, of which each cluster gets a copy in a moment.

The original stays in the cache. Layers and blobs never change once they are there, so a copy shares them as hard links;
databases and everything else are real copies.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from e2e.cache import content_key, made
from e2e.cluster.binaries import kubernetes, tools
from e2e.cluster.node.archive import Image, archive
from e2e.cluster.node.controlplane import control_plane
from e2e.cluster.node.rootfs import rootfs
from e2e.commands import CommandError, run
from e2e.progress import step

_SHARED = ("io.containerd.content.v1.content/blobs", "io.containerd.snapshotter.v1.overlayfs/snapshots")
NAMESPACE = "k8s.io"
"""Where the kubelet's images are in containerd."""
_READY_SECONDS = 30.0
_CONFIG = """version = 3
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"
]
"""


def original() -> Path:
    """The store that has the control plane's images. Raises GoError, CommandError."""
    here = Path(__file__).parent
    key = content_key(here / "controlplane.py", here / "archive.py", here / "pause", *_made_from())
    return made("node-store", key, _make)


def copy_to(target: Path) -> None:
    """Make `target` a store of its own with what the original has."""
    source = original().resolve()
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "--archive", "--link", source, target)
    for folder, subfolders, files in os.walk(target):
        place = Path(folder).relative_to(target)
        if str(place) in _SHARED:
            subfolders.clear()
            continue
        for name in files:
            (target / place / name).unlink()
            shutil.copy2(source / place / name, target / place / name)


def take_in(ctr: list[str], images: Sequence[Image], without: Collection[str] = ()) -> None:
    """Give `images` to the containerd that `ctr` speaks to; layers whose digests are in `without` it has. Raises CommandError."""
    command = [*ctr, "images", "import", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # it has ended, and its last words say why
            for chunk in archive(images, without):
                process.stdin.write(chunk)
        said, _ = process.communicate()
    if process.returncode:
        message = f"ctr images import ended with {process.returncode}: {said.decode(errors='replace')[-1000:]}"
        raise CommandError(message)


def _made_from() -> tuple[str, ...]:
    return tuple(place.name for place in (kubernetes(), tools(), rootfs()))


def _make(place: Path) -> None:
    images = control_plane()
    with step("Unpacking the control plane's images"), _containerd(place) as ctr:
        take_in(ctr, images)


@contextmanager
def _containerd(store: Path) -> Iterator[list[str]]:
    """A containerd with its data in `store`; yields how ctr is called for it."""
    with tempfile.TemporaryDirectory(prefix="stoker-store-") as folder:
        place = Path(folder)
        (place / "config.toml").write_text(_CONFIG)
        words = ("--root", store, "--state", place / "state", "--address", place / "socket", "--config", place / "config.toml")
        with (place / "log").open("w") as log:
            daemon = subprocess.Popen([tools() / "containerd", *words], stdout=log, stderr=log)
        try:
            _wait_for(place / "socket", daemon, place / "log")
            yield [str(tools() / "ctr"), "--address", str(place / "socket"), "--namespace", NAMESPACE]
        finally:
            daemon.terminate()
            daemon.wait()


def _wait_for(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            message = "containerd did not start: " + " / ".join(log.read_text().splitlines()[-3:])
            raise CommandError(message)
        time.sleep(0.05)
