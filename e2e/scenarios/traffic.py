"""Callers that send jobs while something else happens."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from e2e.release import Release
from e2e.scenarios.resources import pods, send

_LONGEST_SECONDS = 120


class Background:
    """One job, sent from a thread of its own."""

    def __init__(self, client: httpx2.Client, model_id: str, **fields: Any) -> None:
        self._outcome: list[httpx2.Response | Exception] = []
        self._thread = threading.Thread(target=self._send, args=(client, model_id, fields), daemon=True)
        self._thread.start()

    def _send(self, client: httpx2.Client, model_id: str, fields: dict[str, Any]) -> None:
        try:
            self._outcome.append(send(client, model_id, **fields))
        except httpx2.HTTPError as error:
            self._outcome.append(error)

    def answer(self) -> httpx2.Response:
        """The answer, once it is there. Raises what went wrong with the connection."""
        self._thread.join(_LONGEST_SECONDS)
        assert self._outcome, "the job was not answered"
        outcome = self._outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def busy_pod(release: Release, name: str) -> str:
    """The name of a worker pod of `name` that runs a job now; empty where none does."""
    for pod in pods(release, name):
        worker = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{release.namespace}/pods/{worker}:8000/proxy/ready"
        if '"in_flight":1' in release.kubectl("get", "--raw", path).replace(" ", ""):
            return str(worker)
    return ""


class Traffic:
    """What became of a stream of jobs: statuses, and connections that failed."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    @property
    def failed(self) -> dict[str, int]:
        """Everything but 200."""
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "200"}


@contextmanager
def traffic(release: Release, model_id: str, callers: int = 2) -> Iterator[Traffic]:
    """Send one job after the other from each of `callers` threads while the block runs."""
    told, over = Traffic(), threading.Event()
    threads = [threading.Thread(target=_call, args=(release.url, model_id, told, over), daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        over.set()
        for thread in threads:
            thread.join(_LONGEST_SECONDS)


def _call(url: str, model_id: str, told: Traffic, over: threading.Event) -> None:
    with httpx2.Client(base_url=url, timeout=60) as client:
        while not over.is_set():
            try:
                told.outcomes[str(send(client, model_id).status_code)] += 1
            except httpx2.TransportError as error:
                told.outcomes[type(error).__name__] += 1
                over.wait(0.1)
