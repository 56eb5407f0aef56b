"""The programs of a Kubernetes cluster and the tools around it, built from published Go modules.

No image registry and no download page is needed: the Go module proxy has them all, and go.sum pins every byte. They are kept
in the cache, named after the module files, so a change of a version builds anew and nothing else does.
"""

import re
import sys
from pathlib import Path

from e2e.cache import content_key, made
from e2e.commands import CommandError, run
from e2e.progress import step

_MODULES = Path(__file__).with_name("gomodules")
_KUBERNETES = _MODULES / "kubernetes"
_TOOLS = _MODULES / "tools"


def _required(module: str) -> str:
    """The version of a Go module that our Kubernetes module requires."""
    found = re.search(rf"^\s*{re.escape(module)} (\S+)$", (_KUBERNETES / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, f"go.mod does not require {module}"  # noqa: S101 - a committed file
    return found[1]


KUBERNETES_VERSION = _required("k8s.io/kubernetes")
"""With the leading ``v``."""

_LINKED = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
"""Names of one binary, which looks at the name that it is called by."""
_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".", 2)
_VERSIONS = {"gitVersion": KUBERNETES_VERSION, "gitMajor": _MAJOR, "gitMinor": _MINOR}
_KUBERNETES_FLAGS = (
    "-trimpath",
    "-ldflags",
    " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in _VERSIONS.items())]),
)
_TOOLS_FLAGS = ("-trimpath", "-tags", "no_btrfs,no_zfs,no_devmapper", "-ldflags", "-s -w")
_ETCD_FLAGS = ("-trimpath", "-ldflags", "-s -w")
_STATIC = {"CGO_ENABLED": "0"}


class GoError(CommandError):
    """There is no Go toolchain here that can build the programs; the text says what to do."""


def kubernetes() -> Path:
    """The folder with the programs of Kubernetes and kubeadm. Raises GoError, CommandError."""
    return made("kubernetes", content_key(_KUBERNETES, *_KUBERNETES_FLAGS), _build_kubernetes)


def tools() -> Path:
    """The folder with etcd, containerd, CoreDNS, helm, kubeconform and kind. Raises GoError, CommandError."""
    return made("tools", content_key(_TOOLS, *_TOOLS_FLAGS, *_ETCD_FLAGS), _build_tools)


def _build_kubernetes(place: Path) -> None:
    _check_go(_KUBERNETES)
    with step(f"Building Kubernetes {KUBERNETES_VERSION} (minutes, the first time)"):
        _go("build", *_KUBERNETES_FLAGS, "-o", place / "kubernetes", ".", cwd=_KUBERNETES)
        _go("build", *_KUBERNETES_FLAGS, "-o", place / "kubeadm", "k8s.io/kubernetes/cmd/kubeadm", cwd=_KUBERNETES)
    for name in _LINKED:
        (place / name).symlink_to("kubernetes")


def _build_tools(place: Path) -> None:
    _check_go(_TOOLS)
    with step("Building etcd, containerd, helm, kind (minutes, the first time)"):
        _go("install", *_TOOLS_FLAGS, "tool", cwd=_TOOLS, install_to=place)
        _go("install", *_ETCD_FLAGS, "./etcd", cwd=_TOOLS, install_to=place)


def _go(*arguments: str | Path, cwd: Path, install_to: Path | None = None) -> None:
    run("go", *arguments, cwd=cwd, env=_STATIC | ({"GOBIN": str(install_to)} if install_to else {}))


def _check_go(module: Path) -> None:
    """Raise GoError where `go` is missing or older than the module asks for. A Go since 1.21 may fetch a newer one by itself."""
    wanted = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None, "go.mod names no version of Go"  # noqa: S101 - a committed file
    advice = f"install Go {wanted[1]} or newer (https://go.dev/dl) and put it on the PATH"
    try:
        said = run("go", "version", cwd=module)
    except CommandError as error:
        message = f"the cluster's programs cannot be built: {error}; {advice}"
        raise GoError(message) from error
    found = re.search(r"go(\d+(?:\.\d+)*)", said.removeprefix("go version"))
    if found is not None and _numbers(found[1]) < _numbers(wanted[1]):
        message = f"the cluster's programs cannot be built with Go {found[1]}; {advice}"
        raise GoError(message)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def main() -> int:
    """Build everything that is not in the cache yet."""
    try:
        for place in (kubernetes(), tools()):
            print(place)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
