"""``make bench-cold``: what Stoker adds to the start of a cold model, on a kind cluster with stub workers.

A job comes for a model without a worker. Measured is the time from the job to its answer, less the time in which a container starts
and a model loads: from the moment the API server tells of the pod to the moment the worker logs that its model is loaded. What is
left is Stoker's: to ask for a worker, to make the pod, to notice that it is ready, to serve the line.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx2

from benchmarks.cluster import stub_release
from benchmarks.readiness.watches import api_client
from benchmarks.result import quantile, report, rounded, say
from e2e.command_line import command_line
from e2e.commands import CommandError
from e2e.release import RESOURCES, Release
from e2e.scenarios.resources import model_deployment, offers, pods, send
from stoker_contracts import names
from tests.support.waiting import eventually

LOAD_SECONDS = 0.5
AT_MOST = {"overhead_p95_s": 0.5}
_LOADED = "the worker is ready"


class Births:
    """When the API server first told of a pod of each model, in Unix seconds."""

    def __init__(self, release: Release) -> None:
        self.moments: dict[str, float] = {}
        self._client = api_client(release)
        self._path = f"/api/v1/namespaces/{release.namespace}/pods"

    def follow(self) -> None:
        """Read the watch until it is closed."""
        query = {"watch": "true", "labelSelector": f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"}
        try:
            with self._client.stream("GET", self._path, params=query) as answer:
                for line in answer.iter_lines():
                    model = json.loads(line)["object"]["metadata"]["labels"][names.LABEL_MODEL_DEPLOYMENT]
                    self.moments.setdefault(model, time.time())
        except (httpx2.HTTPError, RuntimeError):
            return  # closed at the end of the block

    @contextmanager
    def followed(self) -> Iterator["Births"]:
        """Follow while the block runs."""
        thread = threading.Thread(target=self.follow, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._client.close()


def loaded_at(release: Release, name: str) -> float:
    """When the worker of a model logged that it is loaded, in Unix seconds. Raises CommandError."""
    (pod,) = pods(release, name)
    for line in release.kubectl("logs", pod["metadata"]["name"], "--timestamps").splitlines():
        stamp, _, words = line.partition(" ")
        if _LOADED in words:
            return datetime.fromisoformat(f"{stamp[:26]}+00:00").timestamp()
    message = f"the worker of {name} did not say when it was loaded"
    raise CommandError(message)


def start(release: Release, births: Births, client: httpx2.Client, number: int) -> tuple[float, float]:
    """One cold start: seconds from job to answer, and what of it is Stoker's. Raises CommandError."""
    name = f"cold-{number}"
    release.apply(model_deployment(name, script={"load_seconds": LOAD_SECONDS}))
    eventually(lambda: offers(client).get(f"org/{name}") is False)
    sent = time.time()
    answer = send(client, f"org/{name}")
    answered = time.time()
    if answer.status_code != httpx2.codes.OK:
        message = f"a job for a cold model ended with {answer.status_code}: {answer.text[:200]}"
        raise CommandError(message)
    overhead = births.moments[name] - sent + answered - loaded_at(release, name)
    release.delete(RESOURCES, name)
    eventually(lambda: not pods(release, name), seconds=60)
    return answered - sent, overhead


def measured(starts: int) -> dict[str, float]:
    """Start models one after the other. Raises CommandError."""
    found = []
    with (
        stub_release() as release,
        httpx2.Client(base_url=release.url, timeout=120) as client,
        Births(release).followed() as births,
    ):
        for number in range(starts):
            found.append(start(release, births, client, number))
            say(f"  start {number + 1} of {starts}: {found[-1][0]:.2f} s, {found[-1][1]:.2f} s of it Stoker's")
    overheads = [overhead for _, overhead in found]
    return {
        "overhead_p95_s": rounded(quantile(overheads, 0.95)),
        "overhead_p50_s": rounded(statistics.median(overheads)),
        "job_p50_s": rounded(statistics.median(seconds for seconds, _ in found)),
        "starts": starts,
    }


def main() -> int:
    """Measure on a cluster of its own; ``KEEP=1`` leaves it up."""
    parser = command_line("benchmarks.cold.run", __doc__, "make bench-cold KEEP=1")
    parser.add_argument("--starts", type=int, default=20, choices=range(1, 101), metavar="1..100", help="cold starts to measure")
    starts = parser.parse_args().starts
    return report("bench-cold", lambda: measured(starts), {}, AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
