"""Callers that send jobs while something else happens."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from e2e.release import Release
from e2e.scenarios.resources import pods, send
from tests.support.waiting import eventually

SERVED = "200"
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


def in_flight(release: Release, pod: str) -> int:
    """Jobs that a worker has now."""
    readiness = release.kubectl("get", "--raw", f"/api/v1/namespaces/{release.namespace}/pods/{pod}:8000/proxy/ready")
    return int(json.loads(readiness)["in_flight"])


def busy_pod(release: Release, name: str) -> str:
    """The name of a worker pod of `name` that runs a job now; empty where none does."""
    workers = (str(pod["metadata"]["name"]) for pod in pods(release, name))
    return next((worker for worker in workers if in_flight(release, worker)), "")


class Traffic:
    """What became of a stream of jobs: statuses with the error's code, connections that failed, and who served."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.workers: Counter[str] = Counter()
        """Jobs served by each worker pod."""
        self.callers: Counter[int] = Counter()
        """Jobs served for each caller."""
        self.slowest = 0.0
        """The longest time that a job took, in seconds."""
        self._lock = threading.Lock()

    @property
    def served(self) -> int:
        """Jobs that were served."""
        return self.outcomes[SERVED]

    @property
    def failed(self) -> dict[str, int]:
        """Everything but 200."""
        with self._lock:
            return {outcome: count for outcome, count in self.outcomes.items() if outcome != SERVED}

    def goes_on(self, jobs: int = 3, seconds: float = 60) -> None:
        """Wait until each caller was served so many times more: nobody is left behind."""
        enough = {caller: count + jobs for caller, count in self.callers.items()}
        eventually(lambda: all(self.callers[caller] >= count for caller, count in enough.items()), seconds)

    def note(self, caller: int, outcome: str, seconds: float, worker: str = "") -> None:
        """One job of a caller ended so."""
        with self._lock:
            self.outcomes[outcome] += 1
            self.slowest = max(self.slowest, seconds)
            self.callers[caller] += outcome == SERVED
            self.workers[worker.partition(".")[0]] += outcome == SERVED


@contextmanager
def traffic(release: Release, model_id: str, callers: int = 2, **fields: Any) -> Iterator[Traffic]:
    """Send one job after the other from each of `callers` threads while the block runs."""
    told, over = Traffic(), threading.Event()
    told.callers.update(dict.fromkeys(range(callers), 0))
    threads = [
        threading.Thread(target=_call, args=(release.url, model_id, (told, number), over, fields), daemon=True)
        for number in range(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        over.set()
        for thread in threads:
            thread.join(_LONGEST_SECONDS)
            assert not thread.is_alive(), "a job was not answered"


def _call(url: str, model_id: str, caller: tuple[Traffic, int], over: threading.Event, fields: dict[str, Any]) -> None:
    told, number = caller
    with httpx2.Client(base_url=url, timeout=_LONGEST_SECONDS) as client:
        while not over.is_set():
            began = time.monotonic()
            try:
                answer = send(client, model_id, **fields)
            except httpx2.TransportError as error:
                told.note(number, type(error).__name__, time.monotonic() - began)
                over.wait(0.1)
            else:
                told.note(number, outcome(answer), time.monotonic() - began, answer.headers.get("Stoker-Worker", ""))


def outcome(answer: httpx2.Response) -> str:
    """The status, and with a failure the words that tell it from others."""
    if answer.status_code == httpx2.codes.OK:
        return SERVED
    error = answer.json().get("error", {}) if "json" in answer.headers.get("content-type", "") else {}
    return " ".join(str(word) for word in (answer.status_code, error.get("type"), error.get("code")) if word)
