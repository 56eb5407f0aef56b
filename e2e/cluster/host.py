"""The machine under the clusters: what it must allow, and what a cluster changes on it that must be put back."""

import json
import os
import shutil
from pathlib import Path

from e2e.cache import cache_dir, locked
from e2e.commands import CommandError, run

_CHANGED = (
    *("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "fs/file-max", "fs/nr_open"),
)
"""Settings below /proc/sys that a kubelet, or systemd in a node, changes for the whole machine."""
_SETTINGS = Path("/proc/sys")
_MODULES = Path("/lib/modules")
"""Docker makes it where it is absent, as kind mounts it into nodes."""
_ENOUGH_GIGABYTES = 25


def clusters_folder() -> Path:
    """Where each cluster has its folder, from before it is made until after it is gone."""
    place = cache_dir() / "clusters"
    place.mkdir(exist_ok=True)
    return place


def enter(name: str) -> Path:
    """Make the folder of the cluster `name`; before the first one the machine's settings are written down."""
    with locked("host"):
        if not _record().exists():
            settings = {setting: (_SETTINGS / setting).read_text() for setting in _CHANGED if (_SETTINGS / setting).exists()}
            _record().write_text(json.dumps({"settings": settings, "modules": _MODULES.exists()}))
        place = clusters_folder() / name
        place.mkdir(exist_ok=True)
        return place


def leave(name: str) -> None:
    """Remove the folder of the cluster `name`; after the last one the machine's settings are as they were."""
    with locked("host"):
        if (place := clusters_folder() / name).exists():
            shutil.rmtree(place)
        if _record().exists() and not any(clusters_folder().iterdir()):
            _restore(json.loads(_record().read_text()))
            _record().unlink()


def has_cgroup_v1() -> bool:
    """Whether this machine's control groups are those of version 1."""
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def complaints() -> list[str]:
    """What this machine lacks for our own Docker and clusters in it, a sentence each; none when all is well."""
    if os.geteuid() != 0:
        return ["only root can run our own Docker; run as root, or use a Docker that can pull images"]
    return [sentence for ask in (_packages, _programs, _groups, _mounts, _disk) if (sentence := ask())]


def _record() -> Path:
    return cache_dir() / "host-settings.json"


def _restore(before: dict[str, object]) -> None:
    settings = before["settings"]
    assert isinstance(settings, dict)  # noqa: S101 - we wrote it
    for setting, value in settings.items():
        if (place := _SETTINGS / setting).read_text() != value:
            place.write_text(value)
    if not before["modules"] and _MODULES.exists() and not any(_MODULES.iterdir()):
        _MODULES.rmdir()


def _packages() -> str | None:
    absent = [name for name in ("dockerd", "debootstrap") if shutil.which(name, path="/usr/local/bin:/usr/sbin:/usr/bin") is None]
    if absent and shutil.which("apt-get") is None:
        return f"{' and '.join(absent)} must be installed; only where there is apt can this be done for you"
    return None


def _programs() -> str | None:
    absent = [name for name in ("go", "unshare", "chroot", "tar", "cp") if shutil.which(name) is None]
    return f"{', '.join(absent)} must be installed and on the PATH" if absent else None


def _groups() -> str | None:
    root = Path("/sys/fs/cgroup/memory" if has_cgroup_v1() else "/sys/fs/cgroup")
    group = root / f"stoker-check-{os.getpid()}"
    try:
        group.mkdir()
        group.rmdir()
    except OSError as error:
        return f"control groups cannot be made here ({error.strerror}): nodes need them to be writable"
    return None


def _mounts() -> str | None:
    try:
        run("unshare", "--mount", "mount", "-t", "tmpfs", "stoker-check", "/tmp")  # noqa: S108 - in a namespace of its own
    except CommandError:
        return "root may not mount here: nodes need a machine or a container with CAP_SYS_ADMIN"
    return None


def _disk() -> str | None:
    free = shutil.disk_usage(cache_dir()).free // 10**9
    if free < _ENOUGH_GIGABYTES:
        return f"the cache's disk has {free} GB free; clusters with the worker image need {_ENOUGH_GIGABYTES}"
    return None
