"""Signals to the processes inside pods, sent from the node as a kernel or an administrator would."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.release import Release

_SIGNAL = """
for each in /proc/[0-9]*; do
  [ "$(cat "$each/comm" 2>/dev/null)" = "$2" ] || continue
  tr '\\0' '\\n' < "$each/environ" 2>/dev/null | grep -qx "HOSTNAME=$1" && kill -s "$3" "${each#/proc/}" && found=1
done
[ -n "$found" ]
"""
"""Finds the processes of pod $1 whose program is $2 and sends them signal $3."""


def signal_pod(release: Release, pod: str, signal: str) -> None:
    """Send `signal` to the Python process of a pod. Raises CommandError where there is none."""
    cluster = release.cluster
    cluster.engine.docker("exec", cluster.node, "sh", "-c", _SIGNAL, "signal", pod, "python", signal)


@contextmanager
def resumed(release: Release, pod: str) -> Iterator[None]:
    """Whatever happens inside, the pod's process goes on afterwards."""
    try:
        yield
    finally:
        signal_pod(release, pod, "CONT")
