"""What scenarios, demonstrations and measurements play on: a cluster that has this clone's images."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from e2e.cluster import kind
from e2e.cluster.engine import engine
from e2e.cluster.kind import Cluster
from e2e.images.build import build
from e2e.progress import step

CLUSTER = "STOKER_SCENARIOS"
"""The variable that tells pytest of the prepared cluster."""
IMAGES = ("operator", "orchestrator", "worker", "worker-stub", "models")


class NoStageError(Exception):
    """The scenarios were started without a cluster."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster and the references of the images in it."""

    cluster: Cluster
    images: Mapping[str, str]

    def told(self) -> str:
        """The value of the variable that tells of it."""
        return json.dumps({"cluster": self.cluster.name, "images": dict(self.images)})


def prepare(name: str, *images: str) -> Stage:
    """A cluster called `name` with `images` of this clone in it. Raises CommandError."""
    references = build(engine(), *images)
    cluster = kind.up(name)
    with step("Loading the images into the cluster"):
        for reference in references.values():
            cluster.load(reference)
    return Stage(cluster, references)


def prepared() -> Stage:
    """The stage that the variable tells of. Raises NoStageError."""
    told = os.environ.get(CLUSTER)
    if told is None:
        message = "run the scenarios by `make cluster`; they need a cluster with the images in it"
        raise NoStageError(message)
    content = json.loads(told)
    cluster = kind.existing(content["cluster"])
    if cluster is None:
        message = f"the cluster {content['cluster']} is gone; run `make cluster` again"
        raise NoStageError(message)
    return Stage(cluster, content["images"])
