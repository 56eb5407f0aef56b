"""Everything that helps to understand why something failed in a cluster, in files."""

from pathlib import Path

from e2e.cluster.kind import Cluster
from e2e.commands import CommandError

_QUESTIONS = {
    "resources.txt": ("get", "all,pvc,configmap,serviceaccount,role,rolebinding,crd", "--all-namespaces", "--output=wide"),
    "events.txt": ("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"),
    "nodes.txt": ("describe", "nodes"),
    "pods.txt": ("describe", "pods", "--all-namespaces"),
    "pods.yaml": ("get", "pods", "--all-namespaces", "--output=yaml"),
}
_IN_THE_NODE = {
    "journal.txt": ("journalctl", "--no-pager", "--output=short-precise"),
    "images.txt": ("ctr", "--namespace", "k8s.io", "images", "ls"),
    "processes.txt": ("ps", "-eo", "pid,ppid,rss,stat,etime,args"),
}


def collect(cluster: Cluster, folder: Path) -> None:
    """Write the cluster's state, events, journal and the logs of its pods into `folder`, an existing one.

    What cannot be had is told in its file: a broken cluster is what this is for.
    """
    for file, words in _QUESTIONS.items():
        (folder / file).write_text(_answer(cluster, words))
    for file, words in _IN_THE_NODE.items():
        (folder / file).write_text(_told(cluster, "exec", cluster.node, *words))
    (folder / "node.txt").write_text(_told(cluster, "logs", cluster.node))
    (folder / "pod-logs.txt").write_text(_told(cluster, "cp", f"{cluster.node}:/var/log/pods", str(folder / "pod-logs")))


def _answer(cluster: Cluster, words: tuple[str, ...]) -> str:
    try:
        return cluster.kubectl(*words, timeout=30)
    except CommandError as error:
        return f"{error}\n"


def _told(cluster: Cluster, *words: str) -> str:
    try:
        return cluster.engine.docker(*words, timeout=60)
    except CommandError as error:
        return f"{error}\n"
