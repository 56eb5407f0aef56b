"""A network that swallows packets: nobody is told, connections stay half open."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.release import Release
from e2e.scenarios.processes import inside, process_of
from stoker_contracts import names

_TABLE = "inet swallowed"
_CUT = """
node=$(hostname --all-ip-addresses | tr ' ' '\\n' | grep -F . | paste -sd ,)
nsenter --net="/proc/$1/ns/net" nft -f - <<END
table $3 {
  chain arriving { type filter hook input priority 0; tcp dport $2 ip saddr != { $node } drop; }
  chain leaving { type filter hook output priority 0; tcp sport $2 ip daddr != { $node } drop; }
}
END
"""
"""Takes port $2 of the pod with process $1 from everybody but the node, so that the kubelet still calls it ready."""
_HEAL = 'nsenter --net="/proc/$1/ns/net" nft delete table $2'


@contextmanager
def half_open(release: Release, pod: str) -> Iterator[None]:
    """No packet passes between a worker and the orchestrators while the block runs; the kubelet sees the worker all the same."""
    process = process_of(release, pod)
    inside(release, _CUT, process, str(names.WORKER_PORT), _TABLE)
    try:
        yield
    finally:
        inside(release, _HEAL, process, _TABLE)
