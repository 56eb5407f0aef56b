"""What is done to the processes inside pods, from the node, as a kernel or an administrator would."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.release import Release

_FIND = """
for each in /proc/[0-9]*; do
  [ "$(cat "$each/comm" 2>/dev/null)" = python ] || continue
  tr '\\0' '\\n' < "$each/environ" 2>/dev/null | grep -qx "HOSTNAME=$1" && found="$found ${each#/proc/}"
done
[ -n "$found" ] || { echo "no program runs in $1" >&2; exit 1; }
"""
"""Finds the Python processes of pod $1."""
_SIGNAL = f"{_FIND}\nkill -s $2 $found"
_SLOW = f"""{_FIND}
trap 'kill -s CONT $found' EXIT
for turn in $(seq "$2"); do
  kill -s STOP $found; sleep 0.9
  kill -s CONT $found; sleep 0.1
done
"""
"""Lets the program run for a tenth of each of the next $2 seconds."""


def inside(release: Release, script: str, *arguments: str) -> str:
    """Run a shell script in the node and return what it printed. Raises CommandError."""
    return release.cluster.inside("sh", "-c", script, "script", *arguments)


def signal_pod(release: Release, pod: str, signal: str) -> None:
    """Send `signal` to the Python process of a pod. Raises CommandError where there is none."""
    inside(release, _SIGNAL, pod, signal)


@contextmanager
def resumed(release: Release, pod: str) -> Iterator[None]:
    """Whatever happens inside, the pod's process goes on afterwards."""
    try:
        yield
    finally:
        signal_pod(release, pod, "CONT")


def slow_down(release: Release, pod: str, seconds: int) -> None:
    """Give the program of a pod a tenth of its time for so many seconds; returns when they are over."""
    inside(release, _SLOW, pod, str(seconds))


def process_of(release: Release, pod: str) -> str:
    """The process id, as the node has it, of the program in a pod. Raises CommandError where there is none."""
    return inside(release, f"{_FIND}\necho $found", pod).split()[0]
