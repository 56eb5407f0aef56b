"""A Kubernetes whose API server is away: its static pod is taken from the kubelet, and given back."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster.kind import Cluster
from tests.support.waiting import eventually

_MANIFEST, _ASIDE = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kube-apiserver.yaml"
_TAKE = """
mv "$1" "$2"
for each in /proc/[0-9]*; do
  [ "$(cat "$each/comm" 2>/dev/null)" = kube-apiserver ] && kill -s KILL "${each#/proc/}"
done
true
"""
_BACK_SECONDS = 120


@contextmanager
def api_server_away(cluster: Cluster) -> Iterator[None]:
    """No API server while the block runs; afterwards it answers again."""
    try:
        cluster.inside("sh", "-c", _TAKE, "script", _MANIFEST, _ASIDE)
        eventually(lambda: not cluster.answers())
        yield
    finally:
        cluster.inside("mv", _ASIDE, _MANIFEST)
        eventually(cluster.answers, _BACK_SECONDS)
