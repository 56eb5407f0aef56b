"""The images that kubeadm runs: the control plane, the proxy, CoreDNS, etcd and pause, under the names that it looks for."""

import re
import tempfile
from pathlib import Path

from e2e.cluster.binaries import KUBERNETES_VERSION, kubernetes, tools
from e2e.cluster.node.archive import Image, Layer, files_layer, image_config
from e2e.cluster.node.rootfs import rootfs
from e2e.commands import run

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PAUSE = Path(__file__).parent / "pause"


def image_names() -> dict[str, str]:
    """What this kubeadm calls its images: ``etcd`` to ``registry.k8s.io/etcd:3.6.8-0``, and so on."""
    listed = run(kubernetes() / "kubeadm", "config", "images", "list", "--kubernetes-version", KUBERNETES_VERSION).split()
    return {name.rpartition("/")[2].rpartition(":")[0]: name for name in listed}


def control_plane() -> tuple[Image, ...]:
    """All of them. Raises GoError, CommandError."""
    names = image_names()
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    links = {f"usr/local/bin/{name}": "kubernetes" for name in programs}
    one_binary = files_layer({"usr/local/bin/kubernetes": (kubernetes() / "kubernetes").resolve()}, links)
    nft = _nft()
    layers = {name: (one_binary, nft) if name == "kube-proxy" else (one_binary,) for name in programs}
    return (
        *(_image(names[name], *layers[name], entrypoint=f"/usr/local/bin/{name}") for name in programs),
        _image(names["etcd"], files_layer({"usr/local/bin/etcd": tools() / "etcd"}), entrypoint="/usr/local/bin/etcd"),
        _image(names["coredns"], files_layer({"coredns": tools() / "coredns"}), entrypoint="/coredns"),
        _image(names["pause"], _pause(), entrypoint="/pause"),
    )


def _image(name: str, *layers: Layer, entrypoint: str) -> Image:
    return Image(name, image_config(layers, Env=[_PATH], Entrypoint=[entrypoint]), layers)


def _nft() -> Layer:
    """The nft program with the libraries that it loads, from the node's Debian tree."""
    tree = rootfs()
    listed = run("chroot", tree, "ldd", "/usr/sbin/nft")
    libraries = re.findall(r"(?:=> |^\s+)(/\S+) \(", listed, re.MULTILINE)
    return files_layer({name.lstrip("/"): _inside(tree, name) for name in ("/usr/sbin/nft", *libraries)})


def _inside(tree: Path, name: str) -> Path:
    """The file that `name` leads to when `tree` is the root."""
    return tree / run("chroot", tree, "readlink", "--canonicalize", name).strip().lstrip("/")


def _pause() -> Layer:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "pause"
        run(
            *("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "main.go"),
            cwd=_PAUSE,
            env={"CGO_ENABLED": "0", "GOFLAGS": ""},
        )
        return files_layer({"pause": program})
