"""A kind cluster with Stoker and stub workers, for measurements that need real pods."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster import kind
from e2e.release import Release, image_values, install, merged
from e2e.stage import prepare

_NAME = "stoker-bench"
_NODE_PORT = 30935
_WORKER = {"engine": "stub", "gpu": {"count": 0}, "resources": {"cpu": "50m", "memory": "256Mi"}}


@contextmanager
def stub_release() -> Iterator[Release]:
    """A release on a cluster of its own, which is taken away behind the block; ``KEEP=1`` leaves it up. Raises CommandError."""
    try:
        stage = prepare(_NAME, "operator", "orchestrator", "worker-stub")
        values = merged(image_values(stage.images, "worker-stub"), {"worker": _WORKER})
        yield install(stage.cluster, "stoker", _NODE_PORT, values)
    finally:
        if os.environ.get("KEEP") != "1":
            kind.down(_NAME)
