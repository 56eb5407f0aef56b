"""A kind cluster of one node: made, loaded with images, and taken away without a trace."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cache import cache_dir, locked
from e2e.cluster import host
from e2e.cluster.binaries import GoError, kubernetes, tools
from e2e.cluster.engine import NETWORK, PUBLISHED_NODE, Engine, engine
from e2e.cluster.loading import load
from e2e.cluster.node import store
from e2e.cluster.node.image import node_image
from e2e.commands import CommandError, run
from e2e.progress import step

DEFAULT_NAME = "stoker"
NODE_PORTS = (30935, 30936, 30937, 30938)
"""The NodePorts that can be reached from this machine."""
_GPU = "nvidia.com/gpu"
_LEADS = {"name": "leader-elect", "value": "false"}
_ALONE = {
    "group": "kubeadm.k8s.io",
    "version": "v1beta4",
    "kind": "ClusterConfiguration",
    "patch": json.dumps(
        [
            {"op": "add", "path": "/controllerManager/extraArgs/-", "value": _LEADS},
            {"op": "add", "path": "/scheduler/extraArgs", "value": [_LEADS]},
        ]
    ),
}
"""One of each leads without being elected: an API server that was away for a while would make them end, and wait to be started."""
_CREATE_SECONDS = 300.0
_ANSWER_SECONDS = 10.0
_KUBECTL = "kubectl"


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    name: str
    engine: Engine

    @property
    def folder(self) -> Path:
        """The cluster's own folder in the cache."""
        return host.clusters_folder() / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's access."""
        return self.folder / "kubeconfig"

    @property
    def node(self) -> str:
        """The name of the node, and of the container that it is."""
        return f"{self.name}-control-plane"

    def kubectl(self, *args: str, text_in: str | None = None, timeout: float | None = None) -> str:
        """Run kubectl as administrator and return what it printed. Raises CommandError."""
        words = {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.folder / "kubectl")}
        return run(kubernetes() / _KUBECTL, *args, env=words, text_in=text_in, timeout=timeout)

    def helm(self, *args: str) -> str:
        """Run helm as administrator and return what it printed. Raises CommandError."""
        homes = {f"HELM_{kind}_HOME": str(cache_dir() / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return run(tools() / "helm", *args, env=homes | {"KUBECONFIG": str(self.kubeconfig)})

    def load(self, engine_reference: str) -> None:
        """Put an image of the engine into the node. Raises CommandError."""
        with step(f"Loading {engine_reference.rpartition('/')[2]} into {self.name}"):
            if not self.engine.private:
                _kind(self.engine, "load", "docker-image", engine_reference, "--name", self.name)
                return
            load(self.engine, engine_reference, self._ctr(), self.folder / "store")

    def inside(self, *command: str, text_in: str | None = None) -> str:
        """Run a program in the node, as its administrator, and return what it printed. Raises CommandError."""
        return self.engine.docker("exec", *(["--interactive"] if text_in is not None else []), self.node, *command, text_in=text_in)

    def port(self, node_port: int) -> int:
        """The port on 127.0.0.1 that leads to `node_port`, one of NODE_PORTS. Raises CommandError."""
        return int(self.engine.docker("port", self.node, f"{node_port}/tcp").split()[0].rpartition(":")[2])

    def give_gpus(self, count: int) -> None:
        """Let the node say that it has `count` GPUs: pods that ask for them are placed and started as on a real one."""
        names = [f"/status/{kind}/{_GPU.replace('/', '~1')}" for kind in ("capacity", "allocatable")]
        patch = json.dumps([{"op": "add", "path": name, "value": str(count)} for name in names])
        self.kubectl("patch", "node", self.node, "--subresource=status", "--type=json", "--patch", patch)

    def _ctr(self) -> list[str]:
        """How ctr is called for the node's containerd, through the node's own view of its files."""
        pid = self.engine.docker("container", "inspect", "--format", "{{.State.Pid}}", self.node).strip()
        socket = f"/proc/{pid}/root/run/containerd/containerd.sock"
        return [str(tools() / "ctr"), "--address", socket, "--namespace", store.NAMESPACE]

    def answers(self) -> bool:
        """Whether the API server is ready."""
        try:
            self.kubectl("get", "--raw", "/readyz", timeout=_ANSWER_SECONDS)
        except GoError:  # says nothing of the server
            raise
        except CommandError:
            return False
        return True


def up(name: str = DEFAULT_NAME) -> Cluster:
    """The cluster `name`, made where it does not run. Raises CommandError, GoError."""
    with locked(f"cluster-{name}"):
        cluster = existing(name)
        if cluster is None or not cluster.answers():
            cluster = Cluster(name, engine())
            _remove(cluster)
            _prepare(cluster)
            with step(f"Creating the cluster {name}"):
                _create(cluster)
        with step("Waiting for the node, DNS and service accounts"):
            _wait(cluster)
        return cluster


def existing(name: str = DEFAULT_NAME) -> Cluster | None:
    """The cluster `name` if it runs."""
    if not (host.clusters_folder() / name / "kubeconfig").exists():
        return None
    cluster = Cluster(name, engine())
    return cluster if cluster.node in _nodes(cluster.engine, "--filter", "status=running") else None


def names() -> list[str]:
    """The clusters that exist, whole or in part."""
    return sorted(place.name for place in host.clusters_folder().iterdir())


def down(name: str = DEFAULT_NAME) -> None:
    """Take the cluster `name` and all that belongs to it away, also where it is there in part only. Raises CommandError."""
    with locked(f"cluster-{name}"):
        if name in names():
            with step(f"Removing the cluster {name}"):
                _remove(Cluster(name, engine()))


def _remove(cluster: Cluster) -> None:
    if cluster.node in _nodes(cluster.engine):
        cluster.engine.docker("rm", "--force", "--volumes", cluster.node)
    host.leave(cluster.name)


def _nodes(found: Engine, *filters: str) -> list[str]:
    listed = found.docker("ps", "--all", *filters, "--filter", "label=io.x-k8s.kind.cluster", "--format", "{{.Names}}")
    return listed.split()


def _prepare(cluster: Cluster) -> None:
    folder = host.enter(cluster.name)
    private = cluster.engine.private
    config = _config(node_image(cluster.engine), folder / "store") if private else _config(PUBLISHED_NODE, None)
    (folder / "kind.json").write_text(json.dumps(config, indent=2))
    if private:
        store.copy_to(folder / "store")
    _make_network(cluster.engine)


def _config(image: str, image_store: Path | None) -> dict[str, Any]:
    """What kind is to make. Our own node image comes with an image store; kind's has one, and a network of its own."""
    ports = [{"containerPort": port, "hostPort": 0, "listenAddress": "127.0.0.1"} for port in NODE_PORTS]
    mounts = [{"hostPath": str(image_store), "containerPath": "/var/lib/containerd"}] if image_store else []
    patches = [json.dumps({"kind": "KubeletConfiguration", "failCgroupV1": False})] if host.has_cgroup_v1() else []
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"kubeProxyMode": "nftables", "apiServerAddress": "127.0.0.1", "disableDefaultCNI": bool(image_store)},
        "nodes": [{"role": "control-plane", "image": image, "extraPortMappings": ports, "extraMounts": mounts}],
        "kubeadmConfigPatches": patches,
        "kubeadmConfigPatchesJSON6902": [_ALONE],
    }


def _make_network(found: Engine) -> None:
    with locked("network"):  # Docker would make a second one of the same name
        if NETWORK not in found.docker("network", "ls", "--format", "{{.Name}}").split():
            found.docker("network", "create", NETWORK)


def _create(cluster: Cluster) -> None:
    words = ("--name", cluster.name, "--config", str(cluster.folder / "kind.json"), "--kubeconfig", str(cluster.kubeconfig))
    try:
        _kind(cluster.engine, "create", "cluster", *words, log=cluster.folder / "kind.log")
    except CommandError:
        _remove(cluster)
        raise


def _kind(found: Engine, *args: str, log: Path | None = None) -> None:
    # kind dies with this process: it must not go on with a cluster that the next run takes away
    run("setpriv", "--pdeathsig", "KILL", tools() / "kind", *args, env=found.environment, log=log, timeout=_CREATE_SECONDS)


def _wait(cluster: Cluster) -> None:
    """Wait for what a pod needs; the controller manager, which comes last, makes the service account."""
    cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=120s")
    cluster.kubectl("wait", "serviceaccount/default", "--namespace=default", "--for=create", "--timeout=120s")
    cluster.kubectl("rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=120s")
    cluster.kubectl(
        *("wait", "pod", "--namespace=kube-system", "--selector=component=kube-controller-manager"),
        *("--for=condition=Ready", "--timeout=120s"),
    )
