"""The Debian tree that the node image starts from."""

import shutil
from pathlib import Path

from e2e.cache import content_key, made
from e2e.cluster.packages import installed
from e2e.commands import run
from e2e.progress import step

_SUITE = "bookworm"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "kmod", "mount", "util-linux", "procps", "ca-certificates"),
    *("runc", "libseccomp2", "containernetworking-plugins"),
    *("iptables", "nftables", "conntrack", "iproute2", "ethtool", "socat", "curl"),
)
"""What systemd, containerd, kubelet, kube-proxy and port-forward call, and curl for people who look around."""


def rootfs() -> Path:
    """The tree as a folder of the cache. Raises CommandError."""
    return made("node-rootfs", content_key(_SUITE, *_PACKAGES), _make)


def _make(place: Path) -> None:
    debootstrap = installed("debootstrap", "debootstrap")
    with step("Laying out Debian for the node image"):
        # in a mount namespace: what debootstrap mounts goes away with it, however it ends
        run(
            *("unshare", "--mount", "--fork", "--kill-child", debootstrap),
            *("--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, place),
        )
    for leftover in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(place / leftover)
        (place / leftover).mkdir()
